"""Ours beside what people use: `python -m benchmarks.peers SONGS [--seconds 60 600]`.

SONGS: folders of stems (see separate.data.stems) that no model was trained on. Quality is measured where weights are real, with
museval and as global SDR, mean over the songs; speed and memory on the first song's mixture, repeated to length, with two threads,
every peer in its own process.
The ideal ratio mask is what a perfect mask of our kind could reach. Peers that are not installed are named, with what to install.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.processes import alone, best_seconds, machine
from benchmarks.rivals import PEERS, RATE
from separate.data.stems import find_songs
from separate.frontend import FrontEnd
from separate.scoring import museval_scores, summarise

THREADS = 2
FIGURES = (("vocals", "museval SDR"), ("accompaniment", "museval SDR"), ("vocals", "global SDR"), ("accompaniment", "global SDR"))


def references(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Song by song, vocals and accompaniment as [samples, 2]."""
    songs = {}
    for song in find_songs(folder, RATE):
        stems = {stem: song.read(stem, 0, song.samples) for stem in song.files}
        rest = np.sum([wave for stem, wave in stems.items() if stem != "vocals"], axis=0)
        songs[song.name] = {"vocals": stems["vocals"], "accompaniment": rest}
    return songs


def ideal_ratio_mask(stems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stems through the mask |S| / sum of |S| of the true stems, with the mixture's phase, in our front-end."""
    front_end = FrontEnd()
    spectra = {name: front_end.stft(torch.from_numpy(wave.T)) for name, wave in stems.items()}
    mixture, total = sum(spectra.values()), sum(spectrum.abs() for spectrum in spectra.values()) + 1e-10
    samples = len(next(iter(stems.values())))
    return {name: front_end.istft(mixture * (spectrum.abs() / total), samples).T.numpy() for name, spectrum in spectra.items()}


def quality(name: str, folder: Path) -> dict[tuple[str, str], float]:
    """Mean over songs of each figure, in dB."""
    torch.set_num_threads(THREADS)
    separate = None if name == "ideal ratio mask" else PEERS[name].load()[0]
    scores: dict[tuple[str, str], list[float]] = {figure: [] for figure in FIGURES}
    for song, stems in references(folder).items():
        if separate is None:
            estimates = ideal_ratio_mask(stems)
        else:
            mixture = torch.from_numpy((stems["vocals"] + stems["accompaniment"]).T.copy())
            estimates = {stem: wave.T.numpy() for stem, wave in separate(mixture).items() if stem in stems}
        for row in summarise(museval_scores(song, stems, estimates, RATE), stems, estimates):
            if (figure := (str(row["stem"]), str(row["protocol"]))) in scores:
                scores[figure].append(float(row["score"]))
    return {figure: float(np.nanmean(values)) for figure, values in scores.items()}


def speed(name: str, folder: Path, seconds: int) -> tuple[float, int]:
    """(seconds of computing for `seconds` of audio, parameters)."""
    torch.set_num_threads(THREADS)
    separate, parameters = PEERS[name].load()
    stems = next(iter(references(folder).values()))
    mixture = torch.from_numpy(np.resize(stems["vocals"] + stems["accompaniment"], (seconds * RATE, 2)).T.copy())
    repeats = 3 if seconds <= 60 else 1
    if repeats == 1:
        separate(mixture[:, : 10 * RATE])
        return _once(lambda: separate(mixture)), parameters
    return best_seconds(lambda: separate(mixture), repeats), parameters


def _once(function: object) -> float:
    import time

    began = time.perf_counter()
    function()  # type: ignore[operator]
    return time.perf_counter() - began


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("songs", type=Path)
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 600])
    options = parser.parse_args()
    print(machine() + f", {THREADS} threads\n")
    print(f"{'peer':<20}{'weights':<9}{'parameters':>11}" + "".join(f"{f'{s} s: xRT':>12}{'x ours':>8}{'MB':>7}" for s in options.seconds))
    own: dict[int, float] = {}
    missing = []
    for name, peer in PEERS.items():
        cells = ""
        try:
            for seconds in options.seconds:
                (spent, parameters), memory = alone(speed, name, options.songs, seconds)
                own.setdefault(seconds, spent)
                cells += f"{seconds / spent:>12.1f}{spent / own[seconds]:>8.2f}{memory:>7.0f}"
        except RuntimeError as error:
            missing.append(f"{name}: {error}" + (f" (pip install {peer.install})" if "ModuleNotFound" in str(error) else ""))
            continue
        print(f"{name:<20}{peer.weights:<9}{parameters:>11,}{cells}", flush=True)
    print(f"\n{'SDR in dB, mean':<20}" + "".join(f"{f'{stem[:5]}. {protocol}':>22}" for stem, protocol in FIGURES))
    for name in [*(name for name, peer in PEERS.items() if peer.weights != "random"), "ideal ratio mask"]:
        if not any(line.startswith(f"{name}:") for line in missing):
            scores, _ = alone(quality, name, options.songs)
            print(f"{name:<20}" + "".join(f"{scores[figure]:>22.2f}" for figure in FIGURES), flush=True)
    print("\n".join(["", *missing]))


if __name__ == "__main__":
    main()
