"""Scores a model, or estimates made by any tool: `python -m recipes.score SONGS OUT [--model NAME | --estimates FOLDER]`.

SONGS: a folder of stems (see separate.data.stems), musdb18-HQ, or musdb18 with its .stem.mp4 files, which are decoded into OUT/decoded
first; of musdb18 only the test songs are scored. Estimates made elsewhere are FOLDER/<song>/<stem>.<wav, flac, ...>, or one folder
deeper. OUT gets museval's own JSON a track (OUT/museval/test, for museval.EvalStore.add_eval_dir), scores.csv and scores.png. A song that
cannot be scored is named at the end and makes the exit status 1. What is scored already is not scored again, unless songs, model, precision
or passes, or estimates have changed since.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

import separate
from separate.data.references import estimate_files, estimates, mixture, mixture_file, references
from separate.data.stems import Song, open_song, stem_folders
from separate.errors import AudioError, SeparateError
from separate.plots import score_boxes
from separate.scoring import MUSEVAL, Row, score_track, shared_stems

if TYPE_CHECKING:
    from separate import Separator

SECONDS = 30  # read and separated at a time
UNFINISHED = ".unfinished"  # folder for stems while they are scored


def song_folders(root: Path, out: Path) -> list[Path]:
    """Folders that hold stems, or musdb18's test songs. Raises AudioError where there are none, or two of the same name."""
    if any(root.glob("test/*.stem.mp4")):
        from separate.data.musdb import decode_songs

        return [song.folder for song in decode_songs(root, "test", out / "decoded")]
    if (root / "train").is_dir() and (root / "test").is_dir():  # musdb18-HQ
        root = root / "test"
    folders = stem_folders(root)
    if len({folder.name for folder in folders}) != len(folders):
        raise AudioError(f"{root}: two songs have the same name")
    return folders


@cache
def load_separator(model: str | None, precision: str, fast: bool) -> Separator:
    """One model a process."""
    from separate import Separator
    from separate.pretrained import DEFAULT

    return Separator.load(model or DEFAULT, precision=precision, fast=fast)


def separate_song(separator: Separator, song: Song, stems: list[str], folder: Path) -> dict[str, Path]:
    """Write stems of the song's mixture into `folder` as float, as they come."""
    import torch

    read = mixture(song)
    starts = range(0, song.samples, SECONDS * song.rate)
    blocks = (torch.from_numpy(read(start, min(SECONDS * song.rate, song.samples - start)).T.copy()) for start in starts)
    paths = {stem: folder / f"{stem}.wav" for stem in stems}
    with ExitStack() as stack:
        files = {
            stem: stack.enter_context(soundfile.SoundFile(path, "w", song.rate, 2, "FLOAT", format="RF64")) for stem, path in paths.items()
        }
        for part in separator.stream(blocks, song.rate, stems):
            for stem, wave in part.items():
                files[stem].write(wave.T.numpy())
    return paths


@contextmanager
def fresh_folder(place: Path) -> Iterator[Path]:
    """An empty folder for a while, also where a process that was killed left one."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def score_song(folder: Path, out: Path, made: Path | None, model: str | None, precision: str, fast: bool) -> dict[str, Any]:
    """What is stored of a song that was scored as it is now, else its new scores, stored; runs in a process of its own.

    Raises AudioError where it cannot be scored; then nothing stays stored of it.
    """
    done, for_museval = out / "scored" / f"{folder.name}.json", out / "museval" / "test" / f"{folder.name}.json"
    try:
        song = open_song(folder)
        assert song is not None
        separator = None if made else load_separator(model, precision, fast)
        files = estimate_files(made, song.name) if made else {}
        inputs = {**song.files, "mixture": mixture_file(song)} if separator else song.files
        by = [separator.card.sha256, str(separator.dtype), separator.passes] if separator else _facts(files)
        fingerprint = {"separate": separate.__version__, "museval": MUSEVAL, "song": _facts(inputs), "by": by}
        if done.exists() and for_museval.exists():
            stored: dict[str, Any] = json.loads(done.read_text())
            if stored["fingerprint"] == fingerprint:
                return stored
        truth = references(song)
        with fresh_folder(out / UNFINISHED / song.name) as place:
            if separator:
                files = separate_song(separator, song, shared_stems(song.name, truth, separator.offers), place)
            scores = score_track(song.name, truth, estimates(files, song), song.samples, song.rate)
    except (AudioError, soundfile.SoundFileError, OSError) as error:
        for path in (done, for_museval):
            path.unlink(missing_ok=True)
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"{folder.name}: {error}") from error
    stored = {"fingerprint": fingerprint, "silent": scores.silent, "rows": scores.rows()}
    for path, text in ((for_museval, scores.museval_json()), (done, json.dumps(stored))):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(text)
        unfinished.replace(path)
    return stored


def _facts(files: Mapping[str, Path | None]) -> dict[str, list[str | int]]:
    """What changes when a file does."""
    return {stem: [path.name, path.stat().st_size, path.stat().st_mtime_ns] for stem, path in files.items() if path}


def report(rows: list[Row], out: Path) -> None:
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


def one_process() -> ProcessPoolExecutor:
    """It runs one function after another and, when it is killed, takes only one with it."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def score_apart(idle: LifoQueue[ProcessPoolExecutor], folder: Path, *arguments: Any) -> dict[str, Any]:
    """`score_song` in an idle process. One that dies is replaced, and the song tried once more. Raises AudioError if that one dies too."""
    for _ in range(2):
        process = idle.get()
        try:
            return process.submit(score_song, folder, *arguments).result()
        except BrokenProcessPool:
            process = one_process()
        finally:
            idle.put(process)
    raise AudioError(f"{folder.name}: its process died twice; is there too little memory?")


def score_all(folders: list[Path], jobs: int, *arguments: Any) -> tuple[list[Row], dict[str, str]]:
    """Rows of all songs, and why there are none of a song; the largest songs first. Raises ModelError where the model is at fault."""
    # One core a job, so that jobs do not compete and figures do not depend on their number. Libraries read it as they load, not later.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    sizes = {folder: sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) for folder in folders}
    rows: dict[str, list[Row]] = {}
    failures = {}
    threads, idle = ThreadPoolExecutor(jobs), LifoQueue[ProcessPoolExecutor]()
    for _ in range(jobs):
        idle.put(one_process())
    try:
        waiting = {
            threads.submit(score_apart, idle, folder, *arguments): folder.name
            for folder in sorted(folders, key=lambda folder: -sizes[folder])
        }
        for number, future in enumerate(as_completed(waiting), 1):
            name = waiting[future]
            try:
                stored = future.result()
                rows[name] = stored["rows"]
                notes = "".join(f"; {what} is silent: no museval score" for what in stored["silent"])
            except AudioError as error:
                failures[name] = str(error)
                notes = ": no scores"
            print(f"{number}/{len(waiting)} {name}{notes}", flush=True)
    finally:
        threads.shutdown(cancel_futures=True)
        while not idle.empty():
            idle.get().shutdown()
    return [row for folder in folders for row in rows.get(folder.name, [])], failures


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m recipes.score", description=__doc__)
    parser.add_argument("songs", type=Path, help="folder of songs with their stems, or musdb18")
    parser.add_argument("out", type=Path, help="folder for the scores")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", help="name or path; the default model if left out")
    what.add_argument("--estimates", type=Path, help="folder with <song>/<stem> files made by any tool")
    parser.add_argument("--precision", default="auto", help="of the model's layers: auto, float32 or bfloat16")
    parser.add_argument("--fast", action="store_true", help="one pass of the model instead of two")
    parser.add_argument("--jobs", type=int, default=1, help="songs scored at the same time, each on one core")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        folders = song_folders(options.songs, options.out)
        rows, failures = score_all(folders, options.jobs, options.out, options.estimates, options.model, options.precision, options.fast)
    except SeparateError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(options.out / UNFINISHED, ignore_errors=True)
    report(rows, options.out)
    if failures:
        print(f"{len(failures)} of {len(folders)} songs could not be scored:", *sorted(failures.values()), sep="\n", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
