"""Other singers out of recorded ones: their vocals at other pitches, with the resonances of the throat where they were.

Mixing changes a clip's speed, and with it pitch and resonances alike. Transposed first, the same phrase becomes a low voice from a
small throat or a high one from a large one, with all its words, breaths and production: singers that were never recorded.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from recipes.opencorpus.recorded import singers

log = logging.getLogger(__name__)
SEMITONES = (-5, -3, 3, 5)
CHORDS = ((3,), (-5,), (5, -3))  # semitones of those who sing along with the recorded voice
BACK_DB, BEHIND = -5.0, 0.012  # how loud they are, and by how many seconds each comes later than the one before


def transpose(wave: np.ndarray, semitones: int) -> np.ndarray:
    """Float32 [samples, 2] at 44.1 kHz -> the same, every pitch moved, the spectral envelope kept (Rubber Band, its finer engine).

    Raises FileNotFoundError where the program is not installed, CalledProcessError where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.wav", Path(folder) / "after.wav"
        soundfile.write(before, wave, RATE, subtype="FLOAT")
        command = ("rubberband", "--quiet", "--fine", "--formant", "--centre-focus", "--pitch", str(semitones), before, after)
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError as error:
            raise FileNotFoundError("rubberband is not installed: apt-get install rubberband-cli") from error
        return read_audio(after)


def harmony(lead: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """The lead, and others who sing the same words with it: float32 [samples, 2] each, at 44.1 kHz. They stand at alternate sides.

    Choruses of real songs have such voices, in step; two unrelated ones, as mixing draws them, hardly ever start and end together.
    """
    wave = lead.copy()
    for number, other in enumerate(others, start=1):
        late = round(number * BEHIND * RATE)
        length = min(len(wave) - late, len(other))
        sides = (0.4, 1.0) if number % 2 else (1.0, 0.4)
        wave[late : late + length] += other[:length] * np.array(sides, dtype=np.float32) * np.float32(10 ** (BACK_DB / 20))
    return wave


def build_transposed(corpus: Path, train: Path) -> None:
    """Store singers, alone and in harmony, the album's under `train`/transposed, others' beside their own; what exists is kept."""
    for split, origin, song, vocals in singers(corpus):
        if split != "train":
            continue
        source = "transposed" if origin == "everything_is_free" else origin
        for semitones in SEMITONES:
            folder = train / source / f"{song}{semitones:+d}"
            if not folder.exists():
                write_song(folder, {"vocals": transpose(vocals, semitones)}, SOURCES[source])
                log.info("%s %s", source, folder.name)
        for chord in CHORDS:
            folder = train / source / f"{song}_with{''.join(f'{semitones:+d}' for semitones in chord)}"
            if not folder.exists():
                others = [read_audio(train / source / f"{song}{semitones:+d}" / "vocals.wav") for semitones in chord]
                write_song(folder, {"vocals": harmony(vocals, others)}, SOURCES[source])
                log.info("%s %s", source, folder.name)
