"""What is scored against what: a song's stems, its mixture and another tool's estimates of them, read block by block.

Stems are read as float32 [samples, 2] from `start` on, silence beyond their end. The accompaniment is the file of that name where there is
one, else the sum of all stems that are not vocals.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from separate.bsseval import Reader
from separate.data.stems import STEMS, Song, audio_files
from separate.errors import AudioError

ALIASES = {"no_vocals": "accompaniment"}  # as demucs names it


def references(song: Song) -> dict[str, Reader]:
    """The song's stems and, where there are vocals and something else, the accompaniment."""
    stems, parts = {stem: partial(song.read, stem) for stem in song.files}, _backing(song)
    return {**stems, "accompaniment": partial(_sum, song, parts)} if "vocals" in stems and parts else {**stems}


def mixture(song: Song) -> Reader:
    """The song's own mixture file if there is one, else the sum of its stems. Raises AudioError if the file does not fit the stems."""
    path = mixture_file(song)
    if path is None:
        return partial(_sum, song, [*(stem for stem in song.files if stem == "vocals"), *_backing(song)])
    facts = soundfile.info(path)
    if (facts.frames, facts.samplerate) != (song.samples, song.rate) or facts.channels > 2:
        had = f"{facts.frames} samples, {facts.samplerate} Hz, {facts.channels} channels"
        raise AudioError(f"{path}: {had}, but the stems are {song.samples} samples, {song.rate} Hz, at most 2 channels")
    return partial(Song(song.source, song.name, {"mixture": path}, song.samples, song.rate).read, "mixture")


def mixture_file(song: Song) -> Path | None:
    """The audio file called mixture in the song's folder, or None."""
    return audio_files(song.folder, ("mixture",)).get("mixture")


def estimate_files(folder: Path, name: str) -> dict[str, Path]:
    """By stem, the estimates of a song in `folder`/<song> or else `folder`/<anything>/<song>, such as museval's `test` or a model's name.

    Raises AudioError where there are none, a stem is there twice, or <anything> is not one folder.
    """
    inside = [path / name for path in sorted(folder.iterdir()) if (path / name).is_dir()] if folder.is_dir() else []
    places = [folder / name] if (folder / name).is_dir() else inside
    if len(places) > 1:
        raise AudioError(f"{name}: estimates in {places[0]} and in {places[1]}; name one of the folders above them")
    files = audio_files(places[0], (*STEMS, *ALIASES)) if places else {}
    if twice := [pair for pair in ALIASES.items() if files.keys() >= {*pair}]:
        one, other = (files[name].name for name in twice[0])
        raise AudioError(f"{places[0]}: both {other} and {one} are there; which one is meant?")
    found = {ALIASES.get(stem, stem): path for stem, path in files.items()}
    if not found:
        raise AudioError(f"{name}: no estimates in {folder}; they should be in {Path(name) / 'vocals.wav'} and its like")
    return found


def estimates(files: dict[str, Path], song: Song) -> dict[str, Reader]:
    """Readers of a song's estimates, cut or padded to its length. Raises AudioError on another rate or too many channels."""
    for path in files.values():
        facts = soundfile.info(path)
        if facts.samplerate != song.rate or facts.channels > 2:
            raise AudioError(
                f"{path}: {facts.samplerate} Hz, {facts.channels} channels; the song has {song.rate} Hz and at most 2 channels"
            )
    stems = Song(song.source, song.name, files, song.samples, song.rate)
    return {stem: partial(stems.read, stem) for stem in files}


def _backing(song: Song) -> list[str]:
    return ["accompaniment"] if "accompaniment" in song.files else [stem for stem in song.files if stem != "vocals"]


def _sum(song: Song, stems: list[str], start: int, count: int) -> NDArray[np.float32]:
    return np.asarray(np.sum([song.read(stem, start, count) for stem in stems], axis=0))
