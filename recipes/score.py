"""Scores a model, or estimates made by any tool: `python -m recipes.score SONGS OUT [--model NAME | --estimates FOLDER]`.

SONGS: a folder of stems (see separate.data.stems), musdb18-HQ's `test`, or musdb18 with its .stem.mp4 files, whose test songs are decoded
into OUT/decoded first. Estimates made elsewhere are FOLDER/<song>/<stem>.<wav, flac, ...>. OUT gets museval's own JSON
a track (OUT/museval/test, for museval.EvalStore.add_eval_dir), scores.csv, scores.png. Tracks that are scored already are not scored again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch

from separate.data.stems import Song, find_songs, open_song
from separate.errors import AudioError
from separate.plots import score_boxes
from separate.scoring import museval_scores, summarise
from separate.separator import Separator

SECONDS = 30  # read and separated at a time


def songs_to_score(folder: Path, out: Path) -> list[Song]:
    """Songs in a folder of stems of any rate, or musdb18's test songs."""
    if any(folder.glob("test/*.stem.mp4")):
        from separate.data.musdb import decode_songs

        return decode_songs(folder, "test", out / "decoded")
    rates = {song.rate: song for path in sorted(folder.rglob("vocals.*")) if (song := open_song(path.parent))}
    return [song for rate in sorted(rates) for song in find_songs(folder, rate)] if len(rates) == 1 else find_songs(folder, 44100)


def references(song: Song) -> dict[str, np.ndarray]:
    """All stems, and the sum of those that are not vocals, float32 [samples, 2]."""
    stems = {stem: song.read(stem, 0, song.samples) for stem in song.files}
    rest = [wave for stem, wave in stems.items() if stem != "vocals"]
    return {**stems, "accompaniment": np.sum(rest, axis=0) if rest else np.zeros_like(next(iter(stems.values())))}


def mixture(song: Song, stems: dict[str, np.ndarray]) -> np.ndarray:
    """The song's own mixture file if there is one, else the sum of its stems."""
    files = sorted(next(iter(song.files.values())).parent.glob("mixture.*"))
    return soundfile.read(files[0], dtype="float32", always_2d=True)[0] if files else stems.get("vocals", 0) + stems["accompaniment"]


def separate_song(separator: Separator, mix: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """All stems on offer, float32 [samples, channels]."""
    blocks = (torch.from_numpy(mix[start : start + SECONDS * rate].T) for start in range(0, len(mix), SECONDS * rate))
    parts = list(separator.stream(blocks, rate))
    return {name: np.concatenate([part[name].T.numpy() for part in parts]) for name in parts[0]}


def read_estimates(folder: Path, song: Song, wanted: set[str]) -> dict[str, np.ndarray]:
    """Another tool's stems of a song. Raises AudioError where there are none."""
    files = {path.stem: path for path in sorted((folder / song.name).glob("*")) if path.stem in wanted}
    if not files:
        raise AudioError(f"{folder / song.name}: holds no estimates named like {', '.join(sorted(wanted))}")
    waves = {}
    for stem, path in files.items():
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != song.rate:
            raise AudioError(f"{path}: {rate} Hz, the song has {song.rate}")
        waves[stem] = np.resize(np.broadcast_to(wave, (len(wave), 2)), (len(wave), 2))
    return {stem: np.pad(wave[: song.samples], ((0, max(0, song.samples - len(wave))), (0, 0))) for stem, wave in waves.items()}


def score_song(song: Song, out: Path, model: str | None, estimates: Path | None, threads: int) -> list[dict[str, str | float]]:
    """Score one song, store museval's JSON and the rows; runs in a process of its own."""
    torch.set_num_threads(threads)
    stems = references(song)
    if estimates is not None:
        guesses = read_estimates(estimates, song, set(stems))
    else:
        separator = Separator.load(model) if model else Separator.load()
        guesses = separate_song(separator, mixture(song, stems), song.rate)
    shared = [stem for stem in stems if stem in guesses]
    stems, guesses = {stem: stems[stem] for stem in shared}, {stem: guesses[stem] for stem in shared}
    store = museval_scores(song.name, stems, guesses, song.rate)
    rows = summarise(store, stems, guesses)
    (out / "museval" / "test").mkdir(parents=True, exist_ok=True)
    store.save(out / "museval" / "test" / f"{song.name}.json")
    done = out / "rows" / f"{song.name}.json"
    done.parent.mkdir(exist_ok=True)
    partial = done.with_suffix(".part")
    partial.write_text(json.dumps(rows))
    partial.replace(done)
    return rows


def report(rows: list[dict[str, str | float]], out: Path) -> None:
    """scores.csv, scores.png, and a table: median and mean over tracks, a line a stem and protocol."""
    with (out / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["track", "stem", "protocol", "score"])
        writer.writeheader()
        writer.writerows(rows)
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        groups[str(row["stem"]), str(row["protocol"])].append(float(row["score"]))
    print(f"{'stem':<15}{'protocol':<14}{'median':>9}{'mean':>9}{'tracks':>8}")
    for (stem, protocol), values in groups.items():
        known = [value for value in values if np.isfinite(value)]
        middle, mean = (np.median(known), np.mean(known)) if known else (np.nan, np.nan)
        print(f"{stem:<15}{protocol:<14}{middle:>9.3f}{mean:>9.3f}{len(known):>8}")
    boxes = {stem: values for (stem, protocol), values in groups.items() if protocol == "museval SDR"}
    score_boxes(boxes, "museval SDR (BSSEval v4, 1 s windows, median of frames)", out / "scores.png")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.score", description=__doc__)
    parser.add_argument("songs", type=Path, help="folder of songs with their stems, or musdb18")
    parser.add_argument("out", type=Path, help="folder for the scores")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", help="name or path; the default model if left out")
    what.add_argument("--estimates", type=Path, help="folder with <song>/<stem> files made by any tool")
    parser.add_argument("--jobs", type=int, default=1, help="songs scored at the same time")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    songs = songs_to_score(options.songs, options.out)
    stored = {song.name: options.out / "rows" / f"{song.name}.json" for song in songs}
    if len(stored) != len(songs):
        raise AudioError(f"{options.songs}: two songs have the same name")
    rows = {name: json.loads(path.read_text()) for name, path in stored.items() if path.exists()}
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        waiting = {
            pool.submit(score_song, song, options.out, options.model, options.estimates, threads): song.name
            for song in songs
            if song.name not in rows
        }
        for number, future in enumerate(as_completed(waiting), 1):
            rows[waiting[future]] = future.result()
            print(f"{number}/{len(waiting)} {waiting[future]}", flush=True)
    report([row for song in songs for row in rows[song.name]], options.out)


if __name__ == "__main__":
    main()
