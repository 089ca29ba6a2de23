"""musdb18 and musdb18-HQ through the `musdb` package: its songs, its split of 86 training and 14 validation songs.

HQ is a folder of wav stems already and is read in place. musdb18's stem files are AAC in mp4, too slow to cut three random seconds
from: each song is decoded once, into a folder of stems beside the others, as float, because decoded AAC goes beyond full scale (about
35 GB for the training set).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile

from separate.data.module import StemsData
from separate.data.stems import Song, check_rate, open_song
from separate.errors import AudioError

TARGETS = ("vocals", "drums", "bass", "other")


def decode_songs(root: Path, split: str, cache: Path) -> list[Song]:
    """The songs of musdb18's `split` ("train", "valid" or "test"), decoded into `cache`/musdb18-float/<song>/ where not there yet.

    Test songs come with their mixture, which is not the sum of the stems.
    """
    import musdb
    import stempeg

    tracks = musdb.DB(str(root), subsets=["test" if split == "test" else "train"], split=None if split == "test" else split)
    songs = []
    for track in tracks:
        folder = cache / "musdb18-float" / track.name
        if not folder.exists():
            unfinished = folder.with_name(f".{track.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            streams = {name: track.sources[name].stem_id for name in TARGETS} | ({"mixture": track.stem_id} if split == "test" else {})
            for name, number in streams.items():  # not by way of track.audio, which has 16 bits
                wave, rate = stempeg.read_stems(track.path, stem_id=number, info=track.info, dtype=np.float32)
                soundfile.write(unfinished / f"{name}.wav", wave, int(rate), subtype="FLOAT")
            unfinished.rename(folder)
        songs.append(_opened(folder))
    return songs


def hq_songs(root: Path, split: str) -> list[Song]:
    """The songs of musdb18-HQ's `split` ("train", "valid" or "test"), read where they are."""
    import musdb

    tracks = musdb.DB(str(root), is_wav=True, subsets=["test" if split == "test" else "train"], split=None if split == "test" else split)
    return [_opened(Path(track.path).parent) for track in tracks]


class MusdbData(StemsData):
    """As StemsData, on musdb18 (`cache` set: where to decode to) or musdb18-HQ (`cache` left out)."""

    def __init__(self, root: Path, targets: list[str], cache: Path | None = None, **arguments: object) -> None:
        super().__init__(root, targets, **arguments)  # type: ignore[arg-type]
        self.cache = cache

    def prepare_data(self) -> None:
        """Decode what is not there yet: in one process of a machine, before the others look."""
        self.find_songs()

    def find_songs(self) -> tuple[list[Song], list[Song]]:
        """Training and validation songs. Raises AudioError where the folder holds none, or some of another rate."""
        if not self.root.is_dir():
            raise AudioError(f"{self.root}: no such folder; musdb18 is at https://sigsep.github.io/datasets/musdb.html")
        train, valid = (
            hq_songs(self.root, split) if self.cache is None else decode_songs(self.root, split, self.cache) for split in ("train", "valid")
        )
        if not train or not valid:
            hint = ""
            if self.cache is None and any(self.root.glob("train/*.stem.mp4")):
                hint = "; its .stem.mp4 files are decoded with --data.init_args.cache FOLDER"
            elif self.cache is not None and any(self.root.glob("train/*/vocals.wav")):
                hint = "; musdb18-HQ is read without data.init_args.cache"
            raise AudioError(f"{self.root}: {len(train)} training and {len(valid)} validation songs of musdb18 found there{hint}")
        check_rate([*train, *valid], self.rate)
        return train, valid


def _opened(folder: Path) -> Song:
    song = open_song(folder)
    if song is None or not set(TARGETS) <= set(song.files):
        raise AudioError(f"{folder}: does not hold {', '.join(TARGETS)}")
    return song
