"""Recordings that are used as they are: the album with stems, solo voices, instrumental albums, drum loops.

Two songs of the album are for validation only and go to `valid`; nothing of them reaches `train`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recipes.opencorpus.catalogue import RATE, SOURCES, Source, active_minutes, read_audio, write_song

log = logging.getLogger(__name__)
VALIDATION_SONGS = ("sodium", "potassium")
SECTOID = Path("/usr/share/games/fretsonfire/data/songs/sectoid")
LOOP_SECONDS = 20


def album(corpus: Path) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    """("train" or "valid", song, stems) of "Everything is Free".

    The bass sits in "other" in all but one of the songs to train on: from them come vocals, drums and the accompaniment.
    """
    for folder in sorted((corpus / "everything_is_free").iterdir()):
        stems = {path.stem: read_audio(path) for path in sorted(folder.glob("*.ogg"))}
        longest = max(len(wave) for wave in stems.values())
        stems = {name: np.pad(wave, ((0, longest - len(wave)), (0, 0))) for name, wave in stems.items()}
        valid = folder.name in VALIDATION_SONGS
        if not valid:
            backing = [wave for name, wave in stems.items() if name != "vocals"]
            stems = {name: wave for name, wave in stems.items() if name in ("vocals", "drums") and active_minutes(wave) > 0}
            stems |= {"accompaniment": np.sum(backing, axis=0)} if backing else {}
        yield "valid" if valid else "train", folder.name, stems


def singers(corpus: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, vocals) of the clips of vocadito, one voice alone each, as many as there are."""
    for path in sorted((corpus / "vocadito").glob("*.wav")):
        yield path.stem, read_audio(path)


def accompaniments(corpus: Path) -> Iterator[tuple[Source, str, dict[str, np.ndarray]]]:
    """Finished instrumental music, and drum loops repeated to at least 20 s."""
    for path in sorted((corpus / "holizna").glob("*.ogg")):
        yield SOURCES["holizna"], path.stem[-40:], {"accompaniment": read_audio(path)}
    for path in sorted((corpus / "waivops").glob("*/*.ogg")):
        loop = read_audio(path)
        times = -(-LOOP_SECONDS * RATE // len(loop))
        yield SOURCES["waivops"], f"{path.parent.name}_{path.stem}", {"drums": np.tile(loop, (times, 1))}


def guitar_songs() -> Iterator[tuple[Source, str, dict[str, np.ndarray]]]:
    """The metal songs of Debian's fretsonfire-songs-sectoid: guitar plus the rest."""
    if not SECTOID.is_dir():
        raise FileNotFoundError("the Sectoid songs are not installed: apt-get install fretsonfire-songs-sectoid")
    for folder in sorted(path for path in SECTOID.iterdir() if path.is_dir()):
        tracks = [read_audio(path) for path in sorted(folder.glob("*.ogg"))]
        total = np.zeros((max(len(track) for track in tracks), 2), dtype=np.float32)
        for track in tracks:
            total[: len(track)] += track
        yield SOURCES["sectoid"], folder.name.lower().replace(" ", "_"), {"accompaniment": total}


def build_recorded(corpus: Path, out: Path) -> None:
    """Store all recordings under `out`/train and `out`/valid; songs that exist are kept."""
    for split, song, stems in album(corpus):
        _store(out / split / "everything_is_free" / song, stems, SOURCES["everything_is_free"])
    for song, vocals in singers(corpus):
        _store(out / "train" / "vocadito" / song, {"vocals": vocals}, SOURCES["vocadito"])
    for songs in (accompaniments(corpus), guitar_songs()):
        for source, song, stems in songs:
            _store(out / "train" / source.name / song, stems, source)


def _store(folder: Path, stems: dict[str, np.ndarray], source: Source) -> None:
    if not folder.exists():
        write_song(folder, stems, source)
        log.info("%s %s", source.name, folder.name)
