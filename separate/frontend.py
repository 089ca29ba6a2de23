"""The shared STFT front-end: the only place that knows n_fft, hop, window and padding.

Training, inference and the losses all go through it. The signal is taken as zero outside its ends; frame m starts
`lead = n_fft - hop_length` samples before sample m * hop_length (with half overlap: it is centred on that sample), and
there are as many frames as touch the signal. So every sample lies under the same number of windows, also at both ends,
and the inverse is exact everywhere: the least-squares one of Griffin and Lim (1984, eq. 6), windowed overlap-add divided
by the summed squared window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FrontEndConfig:
    """Geometry of the transform.

    n_fft: samples a window (Hann, periodic); hop_length: samples between frames, n_fft divided by 2 or a larger integer.
    """

    n_fft: int = 2048
    hop_length: int = 1024

    def __post_init__(self) -> None:
        if self.hop_length < 1 or self.n_fft % self.hop_length or self.n_fft < 2 * self.hop_length:
            raise ValueError(f"hop_length {self.hop_length} must divide n_fft {self.n_fft} at least twice")

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def lead(self) -> int:
        """Samples of silence before the signal that its first frame sees."""
        return self.n_fft - self.hop_length

    def frames(self, samples: int) -> int:
        """Number of frames that touch a signal of `samples` samples."""
        return -(-samples // self.hop_length) + self.lead // self.hop_length


class FrontEnd(nn.Module):
    """STFT and its inverse, for whole signals (`stft`, `istft`) and for stretches of a stream (`analyse`, `synthesise`)."""

    window: Tensor
    envelope: Tensor

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        self.config = config or FrontEndConfig()
        n_fft, hop = self.config.n_fft, self.config.hop_length
        window = torch.hann_window(n_fft, dtype=torch.float64, device="cpu")
        # The summed squared window at each place within a hop: the same for every hop.
        envelope = window.square().reshape(n_fft // hop, hop).sum(0)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("envelope", envelope.float(), persistent=False)

    def stft(self, wave: Tensor) -> Tensor:
        """[..., samples] -> complex [..., bins, frames(samples)]."""
        samples, config = wave.shape[-1], self.config
        stretch = (config.frames(samples) - 1) * config.hop_length + config.n_fft
        return self.analyse(nn.functional.pad(wave, (config.lead, stretch - config.lead - samples)))

    def istft(self, spectrum: Tensor, samples: int) -> Tensor:
        """Complex [..., bins, frames(samples)] -> [..., samples], the inverse of `stft`."""
        if spectrum.shape[-1] != self.config.frames(samples):
            raise ValueError(f"{samples} samples make {self.config.frames(samples)} frames, not {spectrum.shape[-1]}")
        return self.synthesise(spectrum)[..., self.config.lead : self.config.lead + samples]

    def analyse(self, stretch: Tensor) -> Tensor:
        """The frames of a stretch as it stands: [..., n_fft + (m - 1) * hop_length] -> complex [..., bins, m]."""
        frames = stretch.unfold(-1, self.config.n_fft, self.config.hop_length) * self.window
        return cast(Tensor, torch.fft.rfft(frames).transpose(-1, -2))

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """What m frames add to the signal: complex [..., bins, m] -> [..., n_fft + (m - 1) * hop_length].

        The first and last `lead` samples lack what neighbouring frames add; neighbours' stretches may simply be added.
        """
        n_fft, hop = self.config.n_fft, self.config.hop_length
        frames = torch.fft.irfft(spectrum.transpose(-1, -2), n=n_fft) * self.window  # [..., m, n_fft]
        count, parts = frames.shape[-2], n_fft // hop
        pieces = frames.reshape(*frames.shape[:-1], parts, hop)
        out = frames.new_zeros(*frames.shape[:-2], count + parts - 1, hop)
        for part in range(parts):
            out[..., part : part + count, :] += pieces[..., part, :]
        return cast(Tensor, (out / self.envelope).flatten(-2))


def unit_phase(mixture: Tensor) -> Tensor:
    """A complex spectrum over its magnitude; 0 where it is silent."""
    return mixture / mixture.abs().clamp(min=1e-12)


def with_phase(magnitude: Tensor, phase: Tensor) -> Tensor:
    """Magnitudes, of any shape that a `unit_phase` broadcasts to, as a complex spectrum."""
    return torch.complex(magnitude * phase.real, magnitude * phase.imag)  # a third of the time of real times complex
