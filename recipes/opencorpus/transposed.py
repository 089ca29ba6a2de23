"""Other singers out of recorded ones: their vocals at other pitches, with the resonances of the throat where they were.

Mixing changes a clip's speed, and with it pitch and resonances alike. Transposed first, the same phrase becomes a low voice from a
small throat or a high one from a large one, with all its words, breaths and production: singers that were never recorded.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from recipes.opencorpus.catalogue import RATE, SOURCES, read_audio, write_song
from recipes.opencorpus.recorded import singers

log = logging.getLogger(__name__)
SEMITONES = (-5, -3, 3, 5)


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


def build_transposed(corpus: Path, train: Path) -> None:
    """Store singers to train on, the album's under `train`/transposed, others' beside their own; what exists is kept."""
    for split, origin, song, vocals in singers(corpus):
        if split != "train":
            continue
        source = "transposed" if origin == "everything_is_free" else origin
        for semitones in SEMITONES:
            folder = train / source / f"{song}{semitones:+d}"
            if not folder.exists():
                write_song(folder, {"vocals": transpose(vocals, semitones)}, SOURCES[source])
                log.info("%s %s", source, folder.name)
