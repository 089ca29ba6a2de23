"""Mandarin syllables spoken one by one by a voice actress, strung into lines and sung: another throat, at full bandwidth.

From Debian's `gcin-voice`, whose copyright file puts the recordings named 5.ogg under CC BY 3.0; those named 3.ogg beside them are under
the GPL and left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from recipes.opencorpus.singing import any_melody, render_voice, spliced, vocoded

log = logging.getLogger(__name__)
RECORDINGS = Path("/usr/share/gcin-voice/ogg")
TRACKS = 4  # sung each way, vocoded and spliced
SILENCE = 10 ** (-46 / 20)  # below it, before and after a syllable


def sounding(wave: np.ndarray) -> np.ndarray:
    """A mono recording without the silence around it, faded over 5 ms at both ends."""
    loud = np.flatnonzero(np.abs(wave) > SILENCE)
    if not len(loud):
        return wave[:0]
    cut = wave[loud[0] : loud[-1] + 1].copy()
    fade = np.linspace(0, 1, min(RATE // 200, len(cut) // 2))
    cut[: len(fade)] *= fade
    cut[len(cut) - len(fade) :] *= fade[::-1]
    return cut


def strung(files: list[Path], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Lines of 4 to 9 syllables in random order, [samples] at 44.1 kHz, until none is left."""
    order = [files[number] for number in rng.permutation(len(files))]
    while order:
        count = int(rng.integers(4, 10))
        yield np.concatenate([sounding(read_audio(path).mean(1)) for path in order[:count]])
        order = order[count:]


def build_syllables(train: Path, seed: int) -> None:
    """Render TRACKS tracks each way, each of as many of the syllables; what exists is kept.

    Raises FileNotFoundError where the recordings are not there.
    """
    files = sorted(RECORDINGS.glob("*/5.ogg"))
    if not files:
        raise FileNotFoundError(f"no recordings under {RECORDINGS}: install gcin-voice")
    for number in range(TRACKS):
        for way, singer in (("take", vocoded), ("spliced", spliced)):
            folder = train / "voices_chu_lo" / f"{number:02d}_{way}"
            if folder.exists():
                continue
            rng = np.random.default_rng((seed, number, len(way)))
            melody = any_melody(rng)
            sung = render_voice(strung(files[number::TRACKS], rng), melody, singer(melody))
            write_song(folder, {"vocals": sung}, SOURCES["voices_chu_lo"])
            log.info("chu_lo %s: %.1f min", folder.name, len(sung) / RATE / 60)
