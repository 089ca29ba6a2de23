"""Views of a spectrogram, for contrastive learning: named, composable, seeded.

Every transform takes magnitudes [batch, ..., bins, frames] and a generator, draws its parameters once an example, and does the same to
all that stands between batch and bins: hand in mixture and stems stacked there, and they stay together. Class attributes say what it does
to them: `keeps_sum`, whether a mixture that was the sum of its stems still is; `moves_target`, whether a stem afterwards is another signal
in time, pitch or content (then it must go through the same), rather than the same one louder or filtered.

Sources: BYOL-A (Niizumi et al. 2021) for resize crop, mixup and fader; SpecAugment (Park et al. 2019) for masks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class View(ABC):
    """A transform of magnitudes."""

    keeps_sum: ClassVar[bool]
    moves_target: ClassVar[bool]

    @abstractmethod
    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Gain(View):
    """Louder or quieter by up to `db` dB."""

    db: float = 6.0
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = False

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        return magnitude * _db(_uniform(magnitude, generator, -self.db, self.db))


@dataclass(frozen=True)
class LinearFader(View):
    """A straight fade, in dB, between two gains of up to `db` dB at start and end (BYOL-A's random linear fader)."""

    db: float = 6.0
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = False

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        start, end = (_uniform(magnitude, generator, -self.db, self.db) for _ in range(2))
        place = torch.linspace(0, 1, magnitude.shape[-1], device=magnitude.device, dtype=magnitude.dtype)
        return magnitude * _db(start + (end - start) * place)


@dataclass(frozen=True)
class Tilt(View):
    """Equaliser tilt: up to `db` dB from the lowest to the highest bin, straight over log frequency, 0 dB in the middle."""

    db: float = 12.0
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = False

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        slope = _uniform(magnitude, generator, -self.db, self.db)
        octave = torch.log2(torch.arange(1, magnitude.shape[-2] + 1, device=magnitude.device, dtype=magnitude.dtype))
        return magnitude * _db(slope * (octave / octave[-1] - 0.5)[:, None])


@dataclass(frozen=True)
class LowPass(View):
    """Nothing above a bin drawn between the shares `lowest` and 1 of all, as a lossy codec leaves it."""

    lowest: float = 0.45
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = False

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        edge = _uniform(magnitude, generator, self.lowest, 1.0) * magnitude.shape[-2]
        return magnitude * (torch.arange(magnitude.shape[-2], device=magnitude.device)[:, None] < edge)


@dataclass(frozen=True)
class TimeMask(View):
    """Silence for up to `share` of the frames."""

    share: float = 0.2
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = True

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        return magnitude * _outside(magnitude, generator, self.share, magnitude.shape[-1])


@dataclass(frozen=True)
class FrequencyMask(View):
    """Silence in up to `share` of the bins."""

    share: float = 0.2
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = True

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        return magnitude * _outside(magnitude, generator, self.share, magnitude.shape[-2]).transpose(-1, -2)


@dataclass(frozen=True)
class Noise(View):
    """Noise with random magnitudes, `low` to `high` dB below the whole. It is in no stem, so the sum is lost."""

    low: float = 10.0
    high: float = 40.0
    keeps_sum: ClassVar[bool] = False
    moves_target: ClassVar[bool] = False

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        snr = _uniform(magnitude, generator, self.low, self.high)
        level = magnitude.square().mean((-2, -1), keepdim=True).sqrt()
        shape = (magnitude.shape[0], *[1] * (magnitude.ndim - 3), *magnitude.shape[-2:])
        parts = torch.randn(2, *shape, generator=generator, device=generator.device).to(magnitude)
        return magnitude + level * _db(-snr) * parts.square().sum(0).div(2).sqrt()


@dataclass(frozen=True)
class Mixup(View):
    """Another example of the batch mixed in, with a share of up to `share`: BYOL-A's log-mixup-exp, which on magnitudes is a mean."""

    share: float = 0.4
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = True

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        share = _uniform(magnitude, generator, 0.0, self.share)
        other = magnitude[torch.randperm(len(magnitude), generator=generator, device=generator.device).to(magnitude.device)]
        return (1 - share) * magnitude + share * other


@dataclass(frozen=True)
class ResizeCrop(View):
    """A window of (bins, frames) shares from the ranges, at a random place, stretched to the whole size: pitch and tempo move."""

    bins: tuple[float, float] = (0.7, 1.0)
    frames: tuple[float, float] = (0.6, 1.0)
    keeps_sum: ClassVar[bool] = True
    moves_target: ClassVar[bool] = True

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        out = []
        for example in magnitude:
            window = []
            for size, (low, high) in zip(magnitude.shape[-2:], (self.bins, self.frames), strict=True):
                length, place = torch.rand(2, generator=generator, device=generator.device).tolist()
                count = max(1, round(size * (low + (high - low) * length)))
                first = round(place * (size - count))
                window.append(slice(first, first + count))
            cut = example[..., window[0], window[1]].reshape(1, -1, *(w.stop - w.start for w in window))
            out.append(interpolate(cut, magnitude.shape[-2:], mode="bilinear", align_corners=False).reshape(example.shape))
        return torch.stack(out)


@dataclass(frozen=True)
class Compose:
    """Transforms one after the other, each with the given probability a batch. Keeps the sum if all do; moves the target if one does."""

    transforms: Sequence[View]
    probability: float = 0.8

    @property
    def keeps_sum(self) -> bool:
        return all(transform.keeps_sum for transform in self.transforms)

    @property
    def moves_target(self) -> bool:
        return any(transform.moves_target for transform in self.transforms)

    def __call__(self, magnitude: Tensor, generator: torch.Generator) -> Tensor:
        for transform in self.transforms:
            if float(torch.rand(1, generator=generator, device=generator.device)) < self.probability:
                magnitude = transform(magnitude, generator)
        return magnitude


def _db(gain: Tensor) -> Tensor:
    return torch.pow(10.0, gain / 20)


def _uniform(like: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """One number an example, shaped to multiply it."""
    drawn = torch.rand(len(like), generator=generator, device=generator.device).to(like)
    return (low + (high - low) * drawn).view(-1, *[1] * (like.ndim - 1))


def _outside(like: Tensor, generator: torch.Generator, share: float, size: int) -> Tensor:
    """[batch, 1, ..., 1, size], 0 in a random stretch and 1 elsewhere."""
    width = _uniform(like, generator, 0.0, share) * size
    first = _uniform(like, generator, 0.0, 1.0) * (size - width)
    place = torch.arange(size, device=like.device)
    inside = ((place >= first) & (place < first + width)).to(like)
    return 1 - inside
