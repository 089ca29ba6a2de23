"""Losses on spectrograms: the paper's pixel L2, and an L1 that knows about phase.

Every loss here is called with (estimate, target, mixture): estimated magnitudes [batch, stems, channels, bins, frames], complex
target spectra of the same shape and the mixture's complex spectrum [batch, 1, channels, bins, frames]. Each example is divided
by its mixture's own level, so that a quiet song counts as much as a loud one and the value does not depend on the gain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class SpectrogramL2(nn.Module):
    """Squared distance of magnitudes over the mixture's mean squared magnitude (Takahashi and Mitsufuji 2017, normalised)."""

    def forward(self, estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
        error = (estimate - target.abs()).square().flatten(1).mean(1)
        return (error / (_power(mixture).flatten(1).mean(1) + EPSILON)).mean()


class PhaseAwareL1(nn.Module):
    """Modulus of the complex error that remains when the estimate gets the mixture's phase, over the mixture's mean magnitude.

    Where mixture and target differ in phase the best magnitude is smaller than the target's (Erdogan et al. 2015, the
    phase-sensitive mask): this loss knows it, a loss on magnitudes does not.
    """

    def forward(self, estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
        magnitude = (_power(mixture) + EPSILON).sqrt()
        error = (_power(estimate * (mixture / magnitude) - target) + EPSILON).sqrt()
        return (error.flatten(1).mean(1) / magnitude.flatten(1).mean(1)).mean()


def _power(spectrum: Tensor) -> Tensor:
    parts = torch.view_as_real(spectrum)
    return parts.square().sum(-1)
