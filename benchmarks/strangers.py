"""Voices over music they do not belong to: `python -m benchmarks.strangers VOICES BACKINGS NAME|MODEL ... [--clips 24] [--seed 0]`.

VOICES, BACKINGS: folders of stems (see separate.data.stems). With voices that nothing was trained on over backings that a model was trained
on, and the other way round, it shows which of the two the model lacks; a peer that knows neither says how hard they are. NAME: an entry of
benchmarks.rivals ("spleeter 2 stems"), MODEL: a model's folder or name. Of each source of backings `--clips` clips are drawn, the voices in
turn, each 4 dB below the music; vocals as global SDR, the median of clips, and the mean over sources.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.corruptions import RATE, Wave
from benchmarks.processes import alone, machine
from benchmarks.rivals import vocals_separator
from benchmarks.robustness import title
from separate.augment.waveform import decibels, level
from separate.data.stems import Song, find_songs
from separate.errors import AudioError
from separate.scoring import global_sdr

THREADS = 2
SECONDS = 6
BELOW = 4.0  # dB from the music to the voice
PEAK = 0.7
SOUNDING = -40.0  # dBFS
TRIES = 50


def clip(song: Song, stems: list[str], rng: np.random.Generator) -> Wave:
    """[2, samples] of the stems' sum where it sounds. Raises AudioError if after many tries it never did."""
    count = SECONDS * song.rate
    for _ in range(TRIES):
        start = int(rng.integers(0, max(1, song.samples - count)))
        wave = np.stack([song.read_apart(stem, start, count) for stem in stems]).sum(0)
        if level(wave) > SOUNDING:
            return np.asarray(wave.T)
    raise AudioError(f"{song.source}/{song.name}: {TRIES} places of {', '.join(stems)} are silent")


def sung(songs: list[Song], rng: np.random.Generator) -> Iterator[Wave]:
    """Clips of the songs' vocals in turn, without end, leaving out songs in which nobody sings. Raises AudioError if none is left."""
    turns = [songs[number] for number in rng.permutation(len(songs))]
    while turns:
        for song in turns.copy():
            try:
                yield clip(song, ["vocals"], rng)
            except AudioError:
                turns.remove(song)
    raise AudioError(f"all {len(songs)} songs with vocals are silent")


def mixes(voices: Path, backings: Path, clips: int, seed: int) -> Iterator[tuple[str, Wave, Wave]]:
    """(source of the backing, mixture, vocals), [2, samples] each, `clips` of a source. Raises AudioError where there is nothing to mix."""
    rng = np.random.default_rng(seed)
    singers = [song for song in find_songs(voices, RATE) if "vocals" in song.files]
    sources: dict[str, list[Song]] = defaultdict(list)
    for song in find_songs(backings, RATE):
        if set(song.files) - {"vocals", "drums"}:
            sources[song.source].append(song)
    if not singers or not sources:
        raise AudioError(f"{backings if singers else voices}: no song has {'a backing' if singers else 'vocals'}")
    for source, songs in sources.items():
        for _, voice in zip(range(clips), sung(singers, rng), strict=False):
            song = songs[rng.integers(len(songs))]
            backing = clip(song, [stem for stem in song.apart() if stem != "vocals"], rng)
            voice = voice * decibels(level(backing.T) - BELOW - level(voice.T))
            gain = PEAK / float(np.abs(voice + backing).max())
            yield source, gain * (voice + backing), gain * voice


def scores(name: str, voices: Path, backings: Path, clips: int, seed: int) -> dict[str, float]:
    """Median SDR in dB by source of backings."""
    torch.set_num_threads(THREADS)
    separate = vocals_separator(name)
    found: dict[str, list[float]] = defaultdict(list)
    for source, mixture, vocals in mixes(voices, backings, clips, seed):
        found[source].append(global_sdr(vocals, separate(torch.from_numpy(mixture))["vocals"].numpy()))
    return {source: float(np.median(values)) for source, values in found.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument("voices", type=Path)
    parser.add_argument("backings", type=Path)
    parser.add_argument("separators", nargs="+")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    for number, name in enumerate(options.separators):
        found, _ = alone(scores, name, options.voices, options.backings, options.clips, options.seed)
        if not number:
            print(f"\n| separator | mean | {' | '.join(found)} |\n|---|---|{'---|' * len(found)}")
        cells = " | ".join(f"{value:.2f}" for value in found.values())
        print(f"| {title(name)} | {np.mean(list(found.values())):.2f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
