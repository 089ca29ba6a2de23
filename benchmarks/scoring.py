"""What scoring costs: `python -m benchmarks.scoring SONGS`, a folder of songs with their stems. Wants a quiet machine.

What a second job saves in `recipes.score`, and our BSSEval beside museval's on the first song, its mixture as vocals and accompaniment.
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


def seconds(songs: Path, jobs: int) -> float:
    """Wall clock of `recipes.score` from nothing."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        command = [sys.executable, "-W", "ignore", "-m", "recipes.score", str(songs), out, "--jobs", str(jobs)]
        # The threads are its own business.
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return time.perf_counter() - began


def bsseval_seconds(folder: Path, museval: bool) -> float:
    """Of one song: with museval from waves in memory, as it needs them, with ours from the files."""
    from recipes.score import song_folders
    from separate.bsseval import bsseval
    from separate.data.references import mixture, references
    from separate.data.stems import open_song

    song = open_song(song_folders(folder, folder)[0])
    assert song is not None
    truth, mixed = references(song), mixture(song)
    readers = [truth["vocals"], truth["accompaniment"]]
    began = time.perf_counter()
    if museval:
        from museval import evaluate

        waves = [read(0, song.samples) for read in (*readers, mixed)]
        evaluate(waves[:2], [waves[2]] * 2, win=song.rate, hop=song.rate)
    else:
        bsseval(readers, [mixed, mixed], song.samples, song.rate)
    return time.perf_counter() - began


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("songs", type=Path)
    songs = parser.parse_args().songs
    print(machine())
    one, two = seconds(songs, 1), seconds(songs, 2)
    print(f"one job {one:.1f} s, two jobs {two:.1f} s: {two / one:.0%}", flush=True)
    pin_threads(1)
    for museval in (False, True):
        spent, memory = alone(bsseval_seconds, songs, museval)
        print(f"{'museval' if museval else 'separate.bsseval'}, first song, one thread: {spent:.1f} s, {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
