"""Ours beside what people use: `python -m benchmarks.peers SONGS [--seconds 60 600]`.

SONGS: folders of stems (see separate.data.stems) that no model was trained on. Quality is measured where weights are real and there are two
stems to score, as recipes.score does, mean over the songs; speed and memory on the beginning of the first song's mixture, repeated to
length, with two threads, every peer and length in a process of its own. The row in float32 beside ours tells what bfloat16 costs. The ideal
ratio mask is what a perfect mask of our kind could reach. What could not be run is named at the end, with what to install.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.processes import alone, best_seconds, machine, pin_threads
from benchmarks.rivals import PEERS, RATE
from separate.data.references import mixture, references
from separate.data.stems import find_songs
from separate.frontend import FrontEnd
from separate.scoring import Wave, held, score_track

THREADS = 2
FIGURES = (("vocals", "museval SDR"), ("accompaniment", "museval SDR"), ("vocals", "global SDR"), ("accompaniment", "global SDR"))
IDEAL = "ideal ratio mask"


def opening(folder: Path, seconds: int) -> torch.Tensor:
    """[2, samples]: the first song's mixture, cut or repeated to length; nothing else is read."""
    song = find_songs(folder, RATE)[0]
    wave = mixture(song)(0, min(song.samples, seconds * RATE))
    return torch.from_numpy(np.resize(wave, (seconds * RATE, 2)).T.copy())


def ideal_ratio_mask(stems: dict[str, Wave], mixed: torch.Tensor) -> dict[str, torch.Tensor]:
    """Stems of a mixture [2, samples] through the mask |S| / sum of |S| of the true stems [samples, 2], in our front-end."""
    front_end = FrontEnd()
    magnitudes = {name: front_end.stft(torch.from_numpy(wave.T.copy())).abs() for name, wave in stems.items()}
    spectrum, total = front_end.stft(mixed), sum(magnitudes.values()) + 1e-10
    return {name: front_end.istft(spectrum * (magnitude / total), mixed.shape[1]) for name, magnitude in magnitudes.items()}


def quality(name: str, folder: Path) -> dict[tuple[str, str], float]:
    """Mean over songs of each figure, in dB."""
    separate = None if name == IDEAL else PEERS[name].load()[0]
    scores: dict[tuple[str, str], list[float]] = {figure: [] for figure in FIGURES}
    for song in find_songs(folder, RATE):
        truth = {stem: read for stem, read in references(song).items() if stem in ("vocals", "accompaniment")}
        mixed = torch.from_numpy(mixture(song)(0, song.samples).T.copy())
        if separate is None:
            estimates = ideal_ratio_mask({stem: read(0, song.samples) for stem, read in truth.items()}, mixed)
        else:
            estimates = separate(mixed)
        readers = {stem: held(wave.T.numpy()) for stem, wave in estimates.items()}
        for row in score_track(song.name, truth, readers, song.samples, song.rate).rows():
            if (figure := (str(row["stem"]), str(row["protocol"]))) in scores:
                scores[figure].append(float(row["score"]))
    return {
        figure: float(np.mean(known)) if (known := [v for v in values if np.isfinite(v)]) else np.nan for figure, values in scores.items()
    }


def speed(name: str, folder: Path, seconds: int) -> tuple[float, int]:
    """(seconds of computing for `seconds` of audio, parameters)."""
    separate, parameters = PEERS[name].load()
    mixed = opening(folder, seconds)
    if seconds <= 60:
        return best_seconds(lambda: separate(mixed)), parameters
    separate(mixed[:, : 10 * RATE])
    return _once(lambda: separate(mixed)), parameters


def _once(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measured(name: str, folder: Path, lengths: list[int]) -> tuple[dict[str, float], str]:
    """Parameters, and seconds and MB by length up to the first length that fails; and why that did."""
    found: dict[str, float] = {}
    for length in lengths:
        try:
            (spent, parameters), memory = alone(speed, name, folder, length)
        except RuntimeError as error:
            hint = f" (pip install {PEERS[name].install})" if "ModuleNotFound" in str(error) else ""
            return found, f"{name}, {length} s: {error}{hint}"
        found |= {"parameters": parameters, f"{length} s": spent, f"{length} MB": memory}
    return found, ""


def speed_row(name: str, found: dict[str, float], own: dict[str, float], lengths: list[int]) -> str:
    """A line of the table; what was not measured is a dash."""

    def cell(key: str, form: str, value: float | None = None) -> str:
        shown = format(found[key] if value is None else value, form) if key in found else "-"
        return f"{shown} | " + (f"{found[key] / own[key]:.2f}" if key in found and own.get(key) else "-")

    peer = PEERS[name]
    cells = [name, str(peer.stems), peer.weights, cell("parameters", ",.0f")]
    for length in lengths:
        cells += [cell(f"{length} s", ".1f", length / found.get(f"{length} s", np.inf)), cell(f"{length} MB", ".0f")]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("songs", type=Path)
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 600])
    options = parser.parse_args(arguments)
    pin_threads(THREADS)
    titles = ["peer", "stems", "weights", "parameters", "ours = 1"]
    for length in options.seconds:
        titles += [f"x real time, {length} s", "time, ours = 1", "peak MB", "ours = 1"]
    print(f"{machine()}, {THREADS} threads\n\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    results = {}
    failures = []
    for name in PEERS:
        results[name], failure = measured(name, options.songs, options.seconds)
        failures += [failure] if failure else []
        print(speed_row(name, results[name], results[next(iter(PEERS))], options.seconds), flush=True)
    print(f"\n| SDR in dB, mean | {' | '.join(f'{stem}, {protocol}' for stem, protocol in FIGURES)} |\n|{'---|' * (1 + len(FIGURES))}")
    scored = [name for name, peer in PEERS.items() if peer.weights != "random" and peer.stems > 1 and results[name]]
    for name in [*scored, IDEAL]:
        try:
            scores, _ = alone(quality, name, options.songs)
            print(f"| {name} | {' | '.join(f'{scores[figure]:.3f}' for figure in FIGURES)} |", flush=True)
        except RuntimeError as error:
            failures.append(f"{name}, quality: {error}")
    print("\n".join(["", *failures]))


if __name__ == "__main__":
    main()
