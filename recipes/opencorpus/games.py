"""Finished instrumental music of games in Debian, the tracks under CC BY or CC0: synthesizers, samples, orchestras, rock.

Each package's copyright file (Naev's SOUND_LICENSE.yaml) says which tracks those are; what is under the GPL or share-alike licences
beside them is left alone. So are tracks of which an earlier model took more than a twentieth of the energy for voices throughout
(Naev's ambient1, ambient3 and sirius1; three places in each, measured once): choirs, made or real, would teach the wrong thing.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from recipes.opencorpus.catalogue import RATE, SOURCES, write_song

log = logging.getLogger(__name__)
TRACKS: dict[str, tuple[Path, tuple[str, ...]]] = {  # by package: folder or zip file, tracks in it
    "naev-data": (Path("/usr/share/naev/dat/snd/music"), tuple(f"{name}.ogg" for name in (
        "ambient2", "ambient2_5", "automat", "battlesomething1", "battlesomething2", "collective1", "collective2", "empire1", "empire2",
        "flf_battle1", "intrigue", "intro", "nebu_battle1", "nebu_battle2", "upbeat", "zalek1", "zalek2", "ambiphonic", "void_sensor",
        "blackmoor_tides", "imminent_threat", "heartofmachine", "dark_city", "pirates_orchestra"))),
    "taisei-data": (Path("/usr/share/taisei/00-taisei.zip"), tuple(f"bgm/{name}.opus" for name in (
        "bonus0", "credits", "ending", "menu", "scuttle", "stage1", "stage1boss", "stage2", "stage2boss", "stage3", "stage3boss", "stage4",
        "stage4boss", "stage5", "stage5boss", "stage6", "stage6boss_phase1", "stage6boss_phase2", "stage6boss_phase3"))),
    "cdogs-sdl-data": (Path("/usr/share/games/cdogs-sdl/music"), (
        "briefing/A Really Tense Moment FULL.ogg", "briefing/Futuristic_junk.ogg", "end/The 9th Circle V2.ogg", "game/red_doors2.ogg",
        "game/space_dimensions_8bit.ogg", "lose/Epic Fall.ogg", "menu/Battle_2.ogg", "menu/space_0.ogg", "victory/Party Sector.ogg",
        "victory/low-fi.ogg")),
    "opensurge-data": (Path("/usr/share/games/opensurge/musics"), (
        "citychill.ogg", "gimacian.ogg", "options.ogg", "sunshine.ogg", "waterworks.ogg")),
    "freecol": (Path("/usr/share/games/freecol/default/resources/music/default"), (
        "fearless-sailors.ogg", "founders.ogg", "musicbox.ogg", "settlers-routine.ogg", "sunrise.ogg", "tailwind.ogg")),
    "blobwars-data": (Path("/usr/share/games/blobwars/music"), ("arctic", "credits")),
    "miceamaze": (Path("/usr/share/games/miceamaze/music"), (
        "DST-Azum.ogg", "DST-DistantMessage.ogg", "Dj_Rkod_Pulse_(George_Ellinas_Remix).ogg")),
    "gigalomania-data": (Path("/usr/share/gigalomania/music"), ("defeat.ogg", "gamemusic.ogg", "mainscreen.ogg", "victory.ogg")),
}  # fmt: skip


def read_tracks(place: Path, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, float32 [samples, 2] at 44.1 kHz) of tracks in a folder or a zip file."""
    for name in names:
        if place.suffix == ".zip":
            with zipfile.ZipFile(place) as archive:
                wave, rate = soundfile.read(io.BytesIO(archive.read(name)), always_2d=True)
        else:
            wave, rate = soundfile.read(place / name, always_2d=True)
        stereo = wave if wave.shape[1] == 2 else np.repeat(wave, 2, axis=1)
        yield name, np.asarray(soxr.resample(stereo, rate, RATE), dtype=np.float32)


def build_games(train: Path) -> None:
    """Store the tracks under `train`/games; what exists is kept. Raises FileNotFoundError where a package is not installed."""
    for package, (place, names) in TRACKS.items():
        folders = {name: train / "games" / f"{package}_{Path(name).stem}" for name in names}
        missing = tuple(name for name, folder in folders.items() if not folder.exists())
        if missing and not place.exists():
            raise FileNotFoundError(f"{place} is missing: apt-get install {package}")
        for name, wave in read_tracks(place, missing):
            write_song(folders[name], {"accompaniment": wave}, SOURCES["games"])
            log.info("games %s", folders[name].name)
