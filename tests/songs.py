"""Folders of stems for tests: the real excerpt that comes with the stempeg package, and made-up ones."""

from pathlib import Path

import numpy as np
import soundfile

from tests.conftest import RATE, sound

STEMS = ("vocals", "drums", "bass", "other")


def made_up_song(folder: Path, seconds: float = 4.0, stems: tuple[str, ...] = STEMS, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number, stem in enumerate(stems):
        soundfile.write(folder / f"{stem}.wav", sound(seconds, seed=seed * 10 + number), RATE)
    return folder


def excerpt() -> dict[str, np.ndarray]:
    """stempeg's six seconds of a real musdb18 song: mixture and stems, float [samples, 2] at 44.1 kHz."""
    import stempeg

    audio, _ = stempeg.read_stems(stempeg.example_stem_path())
    return dict(zip(("mixture", "drums", "bass", "other", "vocals"), audio, strict=True))
