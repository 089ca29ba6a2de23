"""Folders of stems: a song is a folder with one audio file a stem, all of the same length and rate.

Any file that soundfile reads will do (`vocals.wav`, `drums.flac`, ...). `accompaniment` is all that is not vocals, for
songs whose drums, bass and other are not all known; a file called `mixture` is not a stem and is ignored. The folder above a song names its
source (an album, a collection).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from separate.errors import AudioError

PARTS = ("drums", "bass", "other")  # of a backing
STEMS = ("vocals", *PARTS, "accompaniment")


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
        """Samples [start, start + count) of a stem as float32 [count, 2]; past the end there is silence."""
        with soundfile.SoundFile(self.files[stem]) as file:
            file.seek(min(start, file.frames))
            wave = file.read(count, dtype="float32", always_2d=True)
        if wave.shape[1] > 2:
            raise AudioError(f"{self.files[stem]}: {wave.shape[1]} channels, at most 2 can be used")
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
    """The song in a folder, or None where no file is named like a stem. Raises AudioError if its stems do not fit together."""
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and path.stem in STEMS}
    if not files:
        return None
    facts = {name: soundfile.info(path) for name, path in files.items()}
    shapes = {(fact.frames, fact.samplerate) for fact in facts.values()}
    if len(shapes) != 1:
        raise AudioError(f"{folder}: stems differ in length or rate: {sorted(shapes)}")
    samples, rate = shapes.pop()
    return Song(folder.parent.name, folder.name, files, samples, rate)


def find_songs(root: Path, rate: int) -> list[Song]:
    """All songs under `root`, in the order of their paths; links are followed, hidden folders left out.

    Raises AudioError if there is none, or one of another rate.
    """
    folders = []
    for folder, inner, _ in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        folders.append(Path(folder))
    songs = [song for folder in sorted(folders) if (song := open_song(folder)) is not None]
    if not songs:
        raise AudioError(f"{root}: no folder in it holds files named like {', '.join(STEMS)}")
    if wrong := [song for song in songs if song.rate != rate]:
        raise AudioError(f"{wrong[0].files[next(iter(wrong[0].files))]}: {wrong[0].rate} Hz, but the recipe's rate is {rate}")
    return songs


def segment(song: Song, targets: tuple[str, ...], start: int, count: int) -> NDArray[np.float32]:
    """float32 [targets + 1, count, 2] from sample `start` on: the targets, then the sum of all that is no target."""
    silence = np.zeros((count, 2), dtype=np.float32)
    rows = [song.read(stem, start, count) if stem in song.files else silence for stem in targets]
    rest = [song.read_apart(stem, start, count) for stem in song.apart() if stem not in targets]
    return np.stack([*rows, np.sum([silence, *rest], axis=0)])
