"""What scoring costs: `python -m benchmarks.scoring SONGS`, a folder of songs with their stems. Wants a quiet machine.

What a second job saves in `recipes.score`, and our BSSEval beside museval's on the first song whose vocals sound, its mixture as vocals and
accompaniment. Processes take seconds to start: the longer the songs, the more of the time is scoring's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import alone, machine, pin_threads
from recipes.score import song_folders
from separate.bsseval import BLOCK, Reader, bsseval
from separate.data.references import mixture, references
from separate.data.stems import Song, open_song
from separate.errors import AudioError


def seconds(songs: Path, jobs: int) -> float:
    """Wall clock of `recipes.score` from nothing. Raises AudioError where a song cannot be scored."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        command = [sys.executable, "-W", "ignore", "-m", "recipes.score", str(songs), out, "--jobs", str(jobs)]
        # The threads are its own business.
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            *_, reason = ["it said nothing", *done.stderr.splitlines()]
            raise AudioError(f"recipes.score failed: {reason}")
        return time.perf_counter() - began


def opened(root: Path) -> list[Song]:
    """What `recipes.score` scores. Raises AudioError where that is nothing, or stems do not fit together."""
    return [song for folder in song_folders(root, root) if (song := open_song(folder)) is not None]


def sounds(read: Reader, samples: int) -> bool:
    """Whether museval would take it: anywhere, the channels' sum is not zero."""
    return any(read(start, min(BLOCK, samples - start)).sum(1).any() for start in range(0, samples, BLOCK))


def sources(song: Song) -> list[Reader]:
    """What museval compares: vocals, accompaniment, and the mixture as an estimate of both; [] if any is missing or silent."""
    truth = references(song)
    readers = [truth[stem] for stem in ("vocals", "accompaniment") if stem in truth]
    readers.append(mixture(song))
    return readers if len(readers) == 3 and all(sounds(read, song.samples) for read in readers) else []


def bsseval_seconds(song: Song, museval: bool) -> float:
    """Of one song: with museval from waves in memory, as it needs them, with ours from the files."""
    *truth, mixed = sources(song)
    if museval:
        from museval import evaluate

        began = time.perf_counter()
        waves = [read(0, song.samples) for read in (*truth, mixed)]
        evaluate(waves[:2], [waves[2]] * 2, win=song.rate, hop=song.rate)
    else:
        began = time.perf_counter()
        bsseval(truth, [mixed, mixed], song.samples, song.rate)
    return time.perf_counter() - began


def minutes(*songs: Song) -> str:
    """How much audio."""
    return f"{sum(song.samples / song.rate for song in songs) / 60:.1f} minutes"


def compare(root: Path) -> None:
    """Print all figures. Raises AudioError where songs cannot be scored, or museval none of them."""
    songs = opened(root)
    first = next((song for song in songs if sources(song)), None)
    if first is None:
        raise AudioError(f"{root}: no song in it has vocals and an accompaniment that sound")
    print(machine())
    one, two = seconds(root, 1), seconds(root, 2)
    print(f"{len(songs)} songs, {minutes(*songs)}: one job {one:.1f} s, two jobs {two:.1f} s: {two / one:.0%}", flush=True)
    pin_threads(1)
    for museval in (False, True):
        spent, memory = alone(bsseval_seconds, first, museval)
        name = "museval" if museval else "separate.bsseval"
        print(f"{name}, {first.name}, {minutes(first)}, one thread: {spent:.1f} s, {memory:.0f} MB", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("songs", type=Path)
    try:
        compare(parser.parse_args(arguments).songs)
    except AudioError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
