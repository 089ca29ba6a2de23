"""stempeg's six seconds of a real musdb18 song as a folder of stems: `python -m benchmarks.excerpt FOLDER`.

For scoring only: musdb18's terms allow research. Needs stempeg, which comes with musdb.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
import stempeg
from numpy.typing import NDArray

RATE = 44100
NAMES = ("mixture", "drums", "bass", "other", "vocals")


def excerpt() -> dict[str, NDArray[np.floating]]:
    """Mixture and stems, float [samples, 2] at 44.1 kHz. The mixture was encoded by itself: it is not quite the stems' sum."""
    audio, _ = stempeg.read_stems(stempeg.example_stem_path())
    return dict(zip(NAMES, audio, strict=True))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.excerpt", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True)
    for name, wave in excerpt().items():
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="FLOAT")


if __name__ == "__main__":
    main()
