"""Feature and style losses on spectrograms: distances of a frozen VGG's activations (Sahai, Weber and McWilliams, EUSIPCO 2019).

The terms are those of Johnson, Alahi and Fei-Fei (2016): feature reconstruction (eq. 2) and style reconstruction (eqs. 3 and 4). How a
spectrogram becomes a picture, and which layers are compared, we did not find: both are settings here, and `picture` does the mapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, mse_loss

from separate.losses.spectrogram import SpectrogramL2, heard
from separate.models.vgg import IMAGENET_MEAN, IMAGENET_STD, VGGFeatures

EPSILON = 1e-8


@dataclass(frozen=True)
class PictureConfig:
    """How magnitudes become a picture.

    compression: exponent on magnitudes over the mixture's RMS magnitude; brightness: what that RMS comes out as, white being 1.
    channels: "mono", one grey picture of the channels' mean, or "stereo", left, right and their mean as red, green and blue.
    top: share of the bins kept, from 0 Hz up; pool: (bins, frames) averaged into one pixel.
    """

    compression: float = 0.3
    brightness: float = 0.4
    channels: Literal["mono", "stereo"] = "mono"
    top: float = 1.0
    pool: tuple[int, int] = (2, 1)


def picture(magnitude: Tensor, level: Tensor, config: PictureConfig) -> Tensor:
    """Magnitudes [batch, channels, bins, frames] -> [batch, 1 or 3, height, width] as torchvision's VGG wants it, low bins first.

    level: RMS magnitude [batch, 1, 1, 1] of the mixture, the same for estimate and target, so that nothing depends on the gain.
    """
    kept = magnitude[:, :, : max(1, round(config.top * magnitude.shape[2]))]
    if config.channels == "mono" or kept.shape[1] == 1:
        kept = kept.mean(1, keepdim=True)
    else:
        kept = torch.cat((kept, kept.mean(1, keepdim=True)), dim=1)
    bright = config.brightness * (kept / (level + EPSILON) + EPSILON).pow(config.compression)
    pooled = avg_pool2d(bright, config.pool)
    mean, std = (pooled.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    if pooled.shape[1] == 1:  # grey: one channel stands for three, so they share one mean and deviation
        mean, std = mean.mean(1, keepdim=True), std.mean(1, keepdim=True)
    return (pooled - mean) / std


def gram(activation: Tensor) -> Tensor:
    """[batch, C, H, W] -> [batch, C, C], inner products of maps over C * H * W (Johnson et al., eq. 3)."""
    flat = activation.flatten(2).float()
    with torch.autocast(activation.device.type, enabled=False):  # it would round the products to bfloat16
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def feature_term(estimate: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over taps of the mean squared distance (eq. 2) over the target's mean square."""
    terms = [mse_loss(e.float(), t.float()) / (t.float().square().mean() + EPSILON) for e, t in zip(estimate, target, strict=True)]
    return torch.stack(terms).mean()


def style_term(estimate: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over taps of the squared Frobenius distance of Gram matrices (eq. 4) over the target's squared norm."""
    pairs = [(gram(e), gram(t)) for e, t in zip(estimate, target, strict=True)]
    terms = [(a - b).square().sum((1, 2)) / (b.square().sum((1, 2)) + EPSILON) for a, b in pairs]
    return torch.stack(terms).mean()


class FeatureLoss(nn.Module):
    """weights[0] * pixel L2 + weights[1] * feature + weights[2] * style, each returned by name; called as the losses in `spectrogram`.

    Each term is relative: the pixel term to the mixture's energy, the others to the target's activations and Gram matrices, so that
    all are of the order of 1 for a bad estimate, 0 for a perfect one and the same at any gain. A term of weight 0 is not computed.
    """

    def __init__(
        self,
        vgg: VGGFeatures,
        weights: tuple[float, float, float] = (0.5, 0.25, 0.25),
        picture: PictureConfig | None = None,
        pixel: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.vgg, self.weights, self.picture = vgg, weights, picture or PictureConfig()
        self.pixel = pixel or SpectrogramL2()

    def forward(self, estimate: Tensor, target: Tensor, mixture: Tensor) -> dict[str, Tensor]:
        terms = {"pixel": self.weights[0] * cast(Tensor, self.pixel(estimate, target, mixture))}
        if self.weights[1] or self.weights[2]:
            stems = target.shape[1]
            level = mixture.abs().square().mean((1, 2, 3, 4), keepdim=True).sqrt().flatten(1)[:, :1, None, None].repeat_interleave(stems, 0)
            sounds = heard(mixture)[:, None, None, None, None]  # silence is compared with silence
            with torch.no_grad():
                wanted = self.vgg(picture((target.abs() * sounds).flatten(0, 1), level, self.picture))
            got = self.vgg(picture((estimate * sounds).flatten(0, 1), level, self.picture))
            if self.weights[1]:
                terms["feature"] = self.weights[1] * feature_term(got, wanted)
            if self.weights[2]:
                terms["style"] = self.weights[2] * style_term(got, wanted)
        return terms
