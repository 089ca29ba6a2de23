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
PAUSE, FADE = 0.3, 0.01  # seconds between passages, and at their edges
# Where somebody sings, by the spectrograms, in seconds. Most else of the album's vocals stems is pads, loops and chopped samples.
SUNG = {
    "caesium": ((211, 230),),
    "francium": ((0, 23), (60, 65.5), (67, 91), (165.3, 187.5)),
    "hydrogen": ((91.8, 95), (99, 102.5), (106.2, 109.5), (113.7, 117), (138.5, 140.5), (146, 149), (153, 156), (160, 164),
                 (196.3, 202), (203.6, 208.5), (211, 216.5), (218, 221), (294.8, 298), (300.4, 304)),
    "lithium": ((2, 5.5), (17.3, 20.9), (160.5, 169.5), (180, 192.4), (281, 306), (309.5, 317.5)),
    "potassium": ((149.2, 158), (160, 179), (182.5, 192), (205, 214.5), (215.5, 226), (226.5, 233)),
    "rubidium": ((20, 33.5), (49, 63), (150.8, 170), (252.4, 257), (260, 264.5)),
}  # fmt: skip


def sung(song: str, vocals: np.ndarray) -> np.ndarray:
    """Of a song's vocals [samples, 2] the passages that somebody sings, one after the other. Raises ValueError if it ends before them."""
    if len(vocals) < SUNG[song][-1][1] * RATE:
        raise ValueError(f"{song}: its vocals end before the last sung passage, at {SUNG[song][-1][1]} s")
    fade = np.linspace(0, 1, int(FADE * RATE), dtype=np.float32)[:, None]
    passages = []
    for start, stop in SUNG[song]:
        passage = vocals[int(start * RATE) : int(stop * RATE)].copy()
        passage[: len(fade)] *= fade
        passage[-len(fade) :] *= fade[::-1]
        passages += [passage, np.zeros((int(PAUSE * RATE), 2), dtype=np.float32)]
    return np.concatenate(passages)


def album(corpus: Path) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    """("train" or "valid", song, stems) of "Everything is Free".

    The bass sits in "other" in all but one of the songs to train on: from them come drums and the accompaniment. Their voices come alone
    (see `singers`), as little else of the vocals stems is voice.
    """
    for folder in sorted((corpus / "everything_is_free").iterdir()):
        stems = {path.stem: read_audio(path) for path in sorted(folder.glob("*.ogg"))}
        longest = max(len(wave) for wave in stems.values())
        stems = {name: np.pad(wave, ((0, longest - len(wave)), (0, 0))) for name, wave in stems.items()}
        valid = folder.name in VALIDATION_SONGS
        if not valid:
            backing = [wave for name, wave in stems.items() if name != "vocals"]
            stems = {name: wave for name, wave in stems.items() if name == "drums" and active_minutes(wave) > 0}
            stems |= {"accompaniment": np.sum(backing, axis=0)} if backing else {}
        yield "valid" if valid else "train", folder.name, stems


def singers(corpus: Path) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """("train" or "strangers", source, name, vocals) of recorded voices alone: the album's, and as many clips of vocadito as there are."""
    for song in SUNG:
        for path in (corpus / "everything_is_free" / song).glob("vocals.ogg"):
            split = "strangers" if song in VALIDATION_SONGS else "train"
            yield split, "everything_is_free", f"{song}_sung", sung(song, read_audio(path))
    for path in sorted((corpus / "vocadito").glob("*.wav")):
        yield "train", "vocadito", path.stem, read_audio(path)


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
    """Store all recordings under `out`/train and `out`/valid, and under `out`/strangers a voice to score with; what exists is kept."""
    for split, song, stems in album(corpus):
        _store(out / split / "everything_is_free" / song, stems, SOURCES["everything_is_free"])
    for split, name, song, vocals in singers(corpus):
        _store(out / split / name / song, {"vocals": vocals}, SOURCES[name])
    for songs in (accompaniments(corpus), guitar_songs()):
        for source, song, stems in songs:
            _store(out / "train" / source.name / song, stems, source)


def _store(folder: Path, stems: dict[str, np.ndarray], source: Source) -> None:
    if not folder.exists():
        write_song(folder, stems, source)
        log.info("%s %s", source.name, folder.name)
