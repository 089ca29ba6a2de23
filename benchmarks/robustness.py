"""How much a separator loses on damaged music: `python -m benchmarks.robustness SONGS NAME|MODEL ... [--seconds 60] [--picture FILE]`.

SONGS: folders of stems that nothing was trained on. NAME: an entry of benchmarks.rivals ("spleeter 2 stems"), MODEL: a model's folder or
name. Vocals as global SDR, mean over the songs, of which the first `seconds` with vocals are taken; see benchmarks.corruptions for what is
done to them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.corruptions import CORRUPTIONS, RATE, Wave
from benchmarks.processes import alone, machine
from benchmarks.rivals import vocals_separator
from separate.data.references import mixture
from separate.data.stems import find_songs
from separate.errors import AudioError
from separate.scoring import global_sdr

THREADS = 2
Scores = dict[str, list[float]]


def excerpts(folder: Path, seconds: float) -> list[tuple[Wave, Wave]]:
    """(mixture, vocals) of each song with vocals, [2, samples], from half a second before they set in. Raises AudioError where none is."""
    found = []
    for song in find_songs(folder, RATE):
        vocals = song.read("vocals", 0, song.samples) if "vocals" in song.files else np.zeros((1, 2), dtype=np.float32)
        sounding = np.flatnonzero(np.abs(vocals).max(1) > 0.01)
        if not len(sounding):
            continue
        first = max(0, int(sounding[0]) - RATE // 2)
        count = min(song.samples - first, round(seconds * RATE))
        found.append((np.ascontiguousarray(mixture(song)(first, count).T), np.ascontiguousarray(vocals[first : first + count].T)))
    if not found:
        raise AudioError(f"{folder}: in no song somebody sings")
    return found


def scores(name: str, folder: Path, seconds: float) -> Scores:
    """SDR in dB: "clean", and a list over strengths for each corruption."""
    torch.set_num_threads(THREADS)
    separate = vocals_separator(name)
    songs = excerpts(folder, seconds)

    def mean(pairs: list[tuple[Wave, Wave]]) -> float:
        estimates = [separate(torch.from_numpy(mixture.copy()))["vocals"].numpy() for mixture, _ in pairs]
        return float(np.mean([global_sdr(vocals, estimate) for (_, vocals), estimate in zip(pairs, estimates, strict=True)]))

    found = {"clean": [mean(songs)]}
    for corruption, strengths in CORRUPTIONS.items():
        found[corruption] = [mean([corrupt(*song) for song in songs]) for corrupt in strengths.values()]
    return found


def title(name: str) -> str:
    """A peer's name, a model's folder, or of a comparison's runs, whose models are all in folders `model`, the run."""
    path = Path(name)
    return path.parent.name if path.name == "model" else path.name


def picture(found: dict[str, Scores], path: Path) -> None:
    """Loss in dB against strength, a panel a corruption, a line a separator."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(3, 3, sharey=True).flat
    for axis, (corruption, strengths) in zip(axes, CORRUPTIONS.items(), strict=True):
        for name, each in found.items():
            axis.plot(list(strengths), [each["clean"][0] - score for score in each[corruption]], "o-", label=title(name))
        axis.set_title(corruption, fontsize=10)
        axis.grid(alpha=0.3)
    figure.supylabel("vocals SDR lost, dB")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(found))
    figure.savefig(path, dpi=100)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=__doc__)
    parser.add_argument("songs", type=Path)
    parser.add_argument("separators", nargs="+")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    print(machine() + "\n\n| separator | clean | mean of all corruptions | drop | " + " | ".join(CORRUPTIONS) + " |")
    print("|---|" + "---|" * (3 + len(CORRUPTIONS)))
    found: dict[str, Scores] = {}
    for name in options.separators:
        each, _ = alone(scores, name, options.songs, options.seconds)
        found[name] = each
        clean, damaged = each["clean"][0], float(np.mean([each[corruption] for corruption in CORRUPTIONS]))
        cells = [" / ".join(f"{score:.2f}" for score in each[corruption]) for corruption in CORRUPTIONS]
        drop = f"{clean - damaged:.2f} dB" + (f", {1 - damaged / clean:.0%}" if clean > 0 else "")
        print(f"| {title(name)} | {clean:.2f} | {damaged:.2f} | {drop} | " + " | ".join(cells) + " |", flush=True)
    if options.picture:
        picture(found, options.picture)


if __name__ == "__main__":
    main()
