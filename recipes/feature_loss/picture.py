"""What the losses see: `python -m recipes.feature_loss.picture SONG L2_MODEL COMBINED_MODEL VGG PICTURE`.

SONG: a folder of stems. Draws its vocals, both models' estimates, and two maps of the VGG's activations for them: the liveliest of the
first and the last layer compared. VGG: weights as in separate.tasks.features.load_vgg.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from separate import Separator
from separate.data.references import mixture
from separate.data.stems import open_song
from separate.errors import AudioError
from separate.frontend import FrontEnd
from separate.losses.feature import PictureConfig, picture
from separate.plots import pictures
from separate.tasks.features import load_vgg

PICTURE = PictureConfig(top=0.5, pool=(2, 2))
TAPS = ("relu1_2", "relu3_1")
SECONDS = 6
FLOOR = -70.0  # dB


def decibels(magnitude: Tensor) -> Tensor:
    """[channels, bins, frames] -> [bins, frames] under the loudest, the lower half of the bins."""
    mono = magnitude.mean(0)[: magnitude.shape[1] // 2]
    return (20 * (mono / mono.max()).clamp(min=1e-9).log10()).clamp(min=FLOOR)


def liveliest(activation: Tensor) -> Tensor:
    """[1, maps, rows, columns] -> the map whose values vary most, without its border."""
    inside = activation[0, :, 3:-3, 3:-3]
    return inside[inside.flatten(1).std(1).argmax()]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.feature_loss.picture", description=__doc__)
    parser.add_argument("song", type=Path)
    for name in ("l2", "combined", "vgg"):
        parser.add_argument(name)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    song = open_song(options.song)
    if song is None:
        raise AudioError(f"{options.song}: holds no stems")
    count = SECONDS * song.rate
    mix = torch.from_numpy(mixture(song)(0, count).T.copy())
    vocals = torch.from_numpy(song.read("vocals", 0, count).T.copy())
    front_end = FrontEnd()
    spectra = {
        "vocals": front_end.stft(vocals).abs(),
        "estimate, trained with L2": front_end.stft(Separator.load(options.l2)(mix, song.rate, ["vocals"])["vocals"]).abs(),
        "estimate, trained with L2 + feature + style": front_end.stft(
            Separator.load(options.combined)(mix, song.rate, ["vocals"])["vocals"]
        ).abs(),
    }
    level = front_end.stft(mix).abs().square().mean().sqrt().view(1, 1, 1, 1)
    with torch.inference_mode():
        maps = load_vgg("vgg19", TAPS, options.vgg)(picture(spectra["vocals"][None], level, PICTURE))
    panels = {name: decibels(spectrum).numpy() for name, spectrum in spectra.items()}
    panels |= {f"a map of {tap}, of the vocals": liveliest(found).numpy() for tap, found in zip(TAPS, maps, strict=True)}
    pictures(panels, options.picture)


if __name__ == "__main__":
    main()
