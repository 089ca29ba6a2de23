"""Folders of stems: a song is a folder with one audio file a stem, all of the same length and rate.

Any file that soundfile reads will do (`vocals.wav`, `drums.flac`, ...). `accompaniment` is all that is not vocals, for
songs whose drums, bass and other are not all known; a file called `mixture` is not a stem and is ignored. The folder above a song names its
source (an album, a collection).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from separate.errors import AudioError

PARTS = ("drums", "bass", "other")  # of a backing
STEMS = ("vocals", *PARTS, "accompaniment")
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"} | {".wave", ".aif", ".aifc", ".oga", ".opus"}


@dataclass(frozen=True)
class Song:
    """One song's stems; `samples` at `rate` Hz, the same for all of them."""

    source: str
    name: str
    files: dict[str, Path]
    samples: int
    rate: int

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return next(iter(self.files.values())).parent

    def read(self, stem: str, start: int, count: int) -> NDArray[np.float32]:
        """Samples [start, start + count) of a stem as float32 [count, 2]; past the end there is silence.

        Raises AudioError on more than two channels and on samples that are not finite.
        """
        with soundfile.SoundFile(self.files[stem]) as file:
            file.seek(min(start, file.frames))
            wave = file.read(count, dtype="float32", always_2d=True)
        if wave.shape[1] > 2:
            raise AudioError(f"{self.files[stem]}: {wave.shape[1]} channels, at most 2 can be used")
        if not np.isfinite(wave).all():
            raise AudioError(f"{self.files[stem]}: holds samples that are not numbers (NaN or infinite)")
        wave = np.broadcast_to(wave, (len(wave), 2))
        return np.pad(wave, ((0, count - len(wave)), (0, 0)))

    def apart(self) -> list[str]:
        """Stems that add up to the mixture: of an accompaniment only what the others lack, and where all are known nothing."""
        return [stem for stem in self.files if stem != "accompaniment" or not set(PARTS) <= self.files.keys()]

    def read_apart(self, stem: str, start: int, count: int) -> NDArray[np.float32]:
        """As `read`, but of an accompaniment what the song's drums, bass and other lack."""
        parts = [part for part in PARTS if part in self.files] if stem == "accompaniment" else []
        return np.asarray(np.sum([self.read(stem, start, count), *(-self.read(part, start, count) for part in parts)], axis=0))


def open_song(folder: Path) -> Song | None:
    """The song in a folder, or None where no audio file is named like a stem.

    Raises AudioError if its stems do not fit together, one is there twice, or one cannot be read.
    """
    files = audio_files(folder, STEMS)
    if not files:
        return None
    shapes = set()
    for path in files.values():
        try:
            facts = soundfile.info(path)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: cannot be read as audio ({error.error_string})") from error
        shapes.add((facts.frames, facts.samplerate))
    if len(shapes) != 1:
        raise AudioError(f"{folder}: stems differ in length or rate: {sorted(shapes)}")
    samples, rate = shapes.pop()
    return Song(folder.parent.name, folder.name, files, samples, rate)


def audio_files(folder: Path, names: Collection[str]) -> dict[str, Path]:
    """By name, the audio files in a folder that are called so. Raises AudioError if there are two of a name."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _is_audio(path, names):
            if path.stem in files:
                raise AudioError(f"{folder}: both {files[path.stem].name} and {path.name} are there; which one is meant?")
            files[path.stem] = path
    return files


def stem_folders(root: Path) -> list[Path]:
    """Folders under `root` with an audio file named like a stem, in the order of their paths.

    Links are followed, but into no folder twice, nor up; hidden folders are left out. Raises AudioError if there is none.
    """
    found, seen = [], set(root.resolve().parents)
    for place, inner, names in os.walk(root, followlinks=True):
        folder, real = Path(place), Path(place).resolve()
        inner[:] = [] if real in seen else sorted(name for name in inner if not name.startswith("."))
        if real not in seen and any(_is_audio(folder / name, STEMS) for name in names):
            found.append(folder)
        seen.add(real)
    if not found:
        raise AudioError(f"{root}: no folder in it holds files named like {', '.join(STEMS)}")
    return sorted(found)


def find_songs(root: Path, rate: int) -> list[Song]:
    """All songs in `stem_folders`. Raises AudioError if there is none, or one of another rate."""
    songs = [song for folder in stem_folders(root) if (song := open_song(folder)) is not None]
    check_rate(songs, rate)
    return songs


def check_rate(songs: Sequence[Song], rate: int) -> None:
    """Raises AudioError if a song has another rate."""
    if wrong := [song for song in songs if song.rate != rate]:
        raise AudioError(f"{wrong[0].folder}: {wrong[0].rate} Hz, but the recipe's rate is {rate}")


def segment(song: Song, targets: tuple[str, ...], start: int, count: int) -> NDArray[np.float32]:
    """float32 [targets + 1, count, 2] from sample `start` on: the targets, then the sum of all that is no target."""
    silence = np.zeros((count, 2), dtype=np.float32)
    rows = [song.read(stem, start, count) if stem in song.files else silence for stem in targets]
    rest = [song.read_apart(stem, start, count) for stem in song.apart() if stem not in targets]
    return np.stack([*rows, np.sum([silence, *rest], axis=0)])


def _is_audio(path: Path, names: Collection[str]) -> bool:
    return path.stem in names and path.suffix.lower() in SUFFIXES and path.is_file()
