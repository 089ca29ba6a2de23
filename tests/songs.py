"""Folders of made-up stems for tests."""

from pathlib import Path

import soundfile

from tests.conftest import RATE, sound

STEMS = ("vocals", "drums", "bass", "other")


def made_up_song(folder: Path, seconds: float = 4.0, stems: tuple[str, ...] = STEMS, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number, stem in enumerate(stems):
        soundfile.write(folder / f"{stem}.wav", sound(seconds, seed=seed * 10 + number), RATE)
    return folder
