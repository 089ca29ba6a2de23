"""Losses on spectrograms: the paper's pixel L2, and one that knows about phase.

Every loss here is called with (estimate, target, mixture): estimated magnitudes [batch, stems, channels, bins, frames], complex
target spectra of the same shape and the mixture's complex spectrum [batch, 1, channels, bins, frames]. Each example is divided by
its mixture's own level, so that a quiet song counts as much as a loud one and the value does not depend on the gain. An example whose
mixture is silent counts as 0.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class SpectrogramL2(nn.Module):
    """Squared distance of magnitudes over the mixture's mean squared magnitude (Takahashi and Mitsufuji 2017, normalised)."""

    def forward(self, estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
        error = (estimate - target.abs()).square().flatten(1).mean(1)
        return (heard(mixture) * error / (_power(mixture).flatten(1).mean(1) + EPSILON)).mean()


class BandL2(nn.Module):
    """Energy of the complex error over the mixture's energy, band by band, mean over bands.

    The estimate gets the mixture's phase: where that and the target's differ the best magnitude is smaller than the target's (Erdogan et
    al. 2015, the phase-sensitive mask), which a loss on magnitudes does not know. Where the network is unsure the best answer is the mean,
    not silence. Every band counts the same, though most of a song's energy lies below 500 Hz. (The mean of the bands' logarithms, which is
    nearer to an SDR, rewards silence where there is no voice so much that the network learns nothing else.)
    """

    def __init__(self, edges: tuple[float, ...] = (0.011, 0.023, 0.045, 0.09, 0.18, 0.36)) -> None:
        """edges: between bands, as shares of the highest frequency; the default is 250 Hz to 8 kHz in octaves at 44.1 kHz."""
        super().__init__()
        self.edges = edges

    def forward(self, estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
        bins = target.shape[-2]
        error = _error_power(estimate, target, mixture).sum((2, 4)) * heard(mixture)[:, None, None]  # [batch, stems, bins]
        energy = _power(mixture).sum((2, 4))
        limits = [0, *(round(edge * bins) for edge in self.edges), bins]
        bands = [error[..., low:high].sum(-1) / (energy[..., low:high].sum(-1) + EPSILON) for low, high in pairwise(limits)]
        return torch.stack(bands).mean()


def heard(mixture: Tensor) -> Tensor:
    """[batch]: 1 for examples with a mixture that sounds, 0 where nothing can be divided by its level."""
    return (_power(mixture).flatten(1).mean(1) > EPSILON).to(mixture.real.dtype)


def _error_power(estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
    """|estimate with the mixture's phase - target|^2, in parts along that phase and across it: in real numbers it trains faster."""
    phase = mixture / _power(mixture).sqrt().clamp(min=EPSILON)
    along = phase.real * target.real + phase.imag * target.imag
    across = phase.real * target.imag - phase.imag * target.real
    return (estimate - along).square() + across.square()


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()
