"""What the open corpus consists of: every source with its licence and credit, and how a song made from it is stored.

A song is a folder of stems, `<source>/<song>/{vocals,drums,bass,other,accompaniment}.wav`, all of the same length, 44.1 kHz,
stereo, 16 bits, with a `song.json` that says where it came from. `accompaniment` is all but the vocals and stands
where not all of drums, bass and other are known apart. Licence class "share-alike" marks what a permissive model has to leave out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

RATE = 44100
STEMS = ("vocals", "drums", "bass", "other", "accompaniment")


@dataclass(frozen=True)
class Source:
    """Where songs come from; `credit` is the line a model card has to carry."""

    name: str
    licence: str
    licence_class: Literal["open", "share-alike"]
    credit: str


def _voice(name: str, licence: str, licence_class: Literal["open", "share-alike"], credit: str) -> Source:
    return Source(f"voices_{name}", licence, licence_class, credit)


_ALL = (
    Source("everything_is_free", "CC0-1.0", "open", '"Everything is Free" by Software-Entwicklungskit'),
    Source("transposed", "CC0-1.0", "open", 'vocals of "Everything is Free" by Software-Entwicklungskit, at other pitches and in harmony'),
    Source("vocadito", "CC-BY-4.0", "open", "vocadito by Bittner, Pasalo, Bosch, Meseguer-Brocal and Rubinstein (edited)"),
    Source("waivops", "CC-BY-4.0", "open", "WaivOps drum loops by Patchbanks"),
    Source("holizna", "CC0-1.0", "open", "HoliznaCC0"),
    Source("sectoid", "MIT", "open", "Frets on Fire songs by Sectoid (Tommi Inkila)"),
    Source("games", "CC-BY-3.0, CC-BY-4.0 and CC0-1.0", "open",
           "music of Naev by Nikola Whallon, Zeropage, Matthew Pablo, Alexandr Zhelanov, Muncheybobo (CC BY 3.0) and Dizzy Crow (CC0); "
           "of Taisei Project by Tuck Vison (CC BY 4.0); of C-Dogs SDL by ViRiX, Alexandr Zhelanov, Matthew Pablo (CC BY 3.0 and 4.0) and "
           "Joth (CC0); of Open Surge by Viktor Kraus, Victor Seven, Mateus Reis, Colin Beard (CC BY 3.0) and cynicmusic (CC0); of FreeCol "
           "by Alexander Zhelanov and Stian Grenborgen (CC BY 4.0); of Blob Wars by Sander van Oirschot, of MiceAmaze by Deceased Superior "
           "Technician and George Ellinas, of Gigalomania by _ghost and Sindre Froyn (CC BY 3.0)"),
    Source("groove_midi", "CC-BY-4.0", "open", "Groove MIDI Dataset by Google LLC; FluidR3 GM sound font by Frank Wen (MIT)"),
    Source("freedoom_midi", "BSD-3-Clause", "open", "Freedoom contributors; FluidR3 GM sound font by Frank Wen (MIT)"),
    Source("freedoom_sampled", "BSD-3-Clause", "open",
           "Freedoom contributors; notes by Karoryfer (CC0) and Real Music Media (public domain); FluidR3 GM by Frank Wen (MIT)"),
    Source("groove_sampled", "CC-BY-4.0", "open", "Groove MIDI Dataset by Google LLC; drum kit by Real Music Media (public domain)"),
    Source("composed", "CC-BY-4.0", "open",
           "Songs made up by this recipe: drummers of the Groove MIDI Dataset by Google LLC; notes by Karoryfer (CC0) and Real Music Media "
           "(public domain); FluidR3 GM by Frank Wen and MuseScore_General by S. Christian Collins (MIT); the singing voices below"),
    _voice("yuki", "public domain", "open", "UTAU-Yuki by kgs233"),
    _voice("kumi_ja", "own terms: free with credit", "open",
           '"Hitsuboku Kumi" by Cubialpha, https://cubialpha.wixsite.com/koomstar (edited)'),
    _voice("kumi_zh", "own terms: free with credit", "open",
           '"Hitsuboku Kumi" by Cubialpha, https://cubialpha.wixsite.com/koomstar (edited)'),
    _voice("scottpoid", "own terms: free with credit", "open", '"SCOTTPOID" by Scott'),
    _voice("dorodoro", "own terms: free", "open", "dorodoro"),
    _voice("iona", "MIT", "open", "Iona_Beta in titinko/utsu"),
    _voice("erithacus", "CC-BY-4.0", "open", "ErithacusProject"),
    _voice("carlo", "CC-BY-3.0", "open", "Asterisk's Italian sounds, spoken by Carlo Flora, http://www.segreterietelefoniche.it (edited)"),
    _voice("ivr_ru", "CC-BY-3.0", "open", "Asterisk's Russian sounds, provided by Maxim Topal, http://www.ivrvoice.ru (edited)"),
    _voice("flite", "own terms: free with credit", "open",
           "Flite and its voices slt, rms and awb, Language Technologies Institute, Carnegie Mellon University"),
    _voice("chu_lo", "CC-BY-3.0", "open", "syllables of gcin-voice by ChionMeilin, spoken by Chu Lo (edited)"),
    _voice("sinsy", "CC-BY-3.0", "open", "HTS voice NIT SONG070 F001, Nagoya Institute of Technology, sung by Sinsy (HTS Working Group)"),
    _voice("alys", "GPL-3.0", "share-alike", "ALYS-DB-001-JPN"),
    _voice("ibuki", "GPL-2.0", "share-alike", "RyuuseiKang/ibuki"),
    _voice("solfege", "GPL-3.0", "share-alike", "wcgbg/solfege-samples"),
)  # fmt: skip
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def read_audio(path: Path) -> np.ndarray:
    """A whole corpus file as float32 [samples, 2] at 44.1 kHz; mono is doubled, other rates are refused."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        raise ValueError(f"{path}: {rate} Hz where the corpus has {RATE}")
    return np.ascontiguousarray(np.broadcast_to(wave, (len(wave), 2)) if wave.shape[1] == 1 else wave)


def active_minutes(wave: np.ndarray) -> float:
    """Minutes of 100 ms windows above -60 dBFS."""
    window = RATE // 10
    power = np.square(wave[: len(wave) // window * window], dtype=np.float64).reshape(-1, window * 2).mean(1)
    return round(float((power > 1e-6).sum()) / 600, 2)


def write_song(folder: Path, stems: Mapping[str, np.ndarray], source: Source) -> None:
    """Store a song's stems, float [samples, 2] each; all are turned down together if one would clip.

    The folder appears at once, complete. Raises ValueError on unknown names or unequal lengths.
    """
    if unknown := set(stems) - set(STEMS):
        raise ValueError(f"not a stem: {', '.join(sorted(unknown))}")
    if len({wave.shape for wave in stems.values()}) != 1:
        raise ValueError(f"{folder.name}: stems of unequal length")
    gain = min(1.0, 0.98 / max(1e-9, *(float(np.abs(wave).max()) for wave in stems.values())))
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, wave in stems.items():
        soundfile.write(unfinished / f"{name}.wav", wave * gain, RATE, subtype="PCM_16")
    minutes = {name: active_minutes(wave * gain) for name, wave in stems.items()}
    (unfinished / "song.json").write_text(json.dumps({**asdict(source), "minutes": minutes}, indent=2))
    unfinished.rename(folder)
