"""Draws a mixture and its stems: `python -m recipes.picture examples/sodium.mp3 picture.png [--model NAME]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from separate import Separator
from separate.audio import AudioReader
from separate.errors import SeparateError
from separate.plots import spectrograms


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.picture", description=__doc__)
    parser.add_argument("song", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model")
    options = parser.parse_args(arguments)
    try:
        reader = AudioReader(options.song)
        mixture = torch.from_numpy(np.concatenate(list(reader.blocks())).T)
        separator = Separator.load(options.model) if options.model else Separator.load()
        spectrograms({"mixture": mixture, **separator(mixture, reader.rate)}, reader.rate, options.picture)
    except (SeparateError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
