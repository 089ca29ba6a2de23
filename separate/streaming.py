"""Exact streaming: a mixture in pieces of any length, the stems that the whole file would have given.

The network is convolutional, so frames far enough away cannot matter: every stretch of frames is computed with `context` real frames on
either side, aligned to the network's total stride, and the context's output is thrown away. No cross-fades, and nothing kept but one
stretch of samples.

The network may see the signal several times, each time at other frames: the mean of these passes is what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from separate.frontend import FrontEnd, unit_phase, with_phase
from separate.models.mmdensenet import MMDenseNet
from separate.wiener import wiener

TAIL = 64  # frames: a signal is followed by silence up to a multiple, as every new number of frames costs oneDNN 3 MB that it keeps
WIENER_REACH = 64  # frames on either side: what a covariance is taken over, 3 s with a hop of 2048 samples


class StreamingNetwork:
    """Waveform pieces [channels, n] in, estimates [stems, channels, m] out, with n and m summing to the same at the end.

    chunk_frames: frames computed at a time; rounded up to a multiple of the network's stride. stems: numbers of those to compute. filtered:
    through the multichannel Wiener filter, for which all stems are computed. delay: samples of silence more before the signal, so that
    frames lie elsewhere in it; the estimates do not have it.
    """

    def __init__(
        self, network: MMDenseNet, front_end: FrontEnd, chunk_frames: int, stems: Sequence[int], filtered: bool = False, delay: int = 0
    ) -> None:
        config = network.config
        self.network, self.front_end, self.stems, self.filtered = network, front_end, tuple(stems), filtered
        self.reach = WIENER_REACH if filtered else 0
        self.hop, self.lead = front_end.config.hop_length, front_end.config.lead
        self.context = _round_up(config.context + self.reach, config.stride)
        self.chunk = _round_up(chunk_frames, config.stride)
        self.delay, self.silence = delay, self.lead + delay
        # The signal as frames see it: frame m starts at sample m * hop, with `silence` samples before the signal.
        self.signal = front_end.window.new_zeros(config.channels, self.silence)
        self.origin = 0  # frame that `signal` starts with
        self.done = 0  # frames whose output is out
        self.overlap = front_end.window.new_zeros(len(self.stems), config.channels, self.lead)
        self.received = 0
        self.emitted = 0  # counted from the first frame's start

    def push(self, wave: Tensor) -> Tensor:
        """Take [channels, n]; return what is final, [stems, channels, m] with m from 0 on."""
        self.received += wave.shape[-1]
        self.signal = torch.cat((self.signal, wave.to(self.signal)), dim=-1)
        out = []
        # Frame m is complete once sample m * hop + n_fft = (m + 1) * hop + lead is there.
        while (self.done + self.chunk + self.context) * self.hop + self.lead <= self._end():
            out.append(self._chunk(self.done + self.chunk, self.done + self.chunk + self.context))
        return self._emit(out)

    def finish(self) -> Tensor:
        """The rest, after the last `push`."""
        frames = _round_up(self.front_end.config.frames(self.delay + self.received), max(TAIL, self.network.config.stride))
        missing = frames * self.hop + self.lead - self._end()
        self.signal = torch.nn.functional.pad(self.signal, (0, missing))
        out = []
        while self.done < frames:
            stop = min(self.done + self.chunk, frames)
            out.append(self._chunk(stop, min(stop + self.context, frames)))
        return self._emit([*out, self.overlap], self.silence + self.received - self.emitted)

    def _end(self) -> int:
        """Sample, counted from the first frame's start, up to which the signal is there."""
        return self.origin * self.hop + self.signal.shape[-1]

    def _chunk(self, stop: int, context_stop: int) -> Tensor:
        """Compute frames [done, stop) from frames [done - context, context_stop)."""
        start = max(0, self.done - self.context)
        stretch = self.signal[:, (start - self.origin) * self.hop : (context_stop - self.origin) * self.hop + self.lead]
        spectra = self._estimates(self.front_end.analyse(stretch), self.done - start, stop - start)
        wave = torch.stack([self.front_end.synthesise(spectrum) for spectrum in spectra])
        wave[..., : self.lead] += self.overlap
        ready = (stop - self.done) * self.hop
        self.overlap = wave[..., ready:].clone()
        self.done = stop
        keep = max(0, stop - self.context)
        self.signal = self.signal[:, (keep - self.origin) * self.hop :].clone()
        self.origin = keep
        return wave[..., :ready]

    def _estimates(self, spectrum: Tensor, first: int, last: int) -> Iterator[Tensor]:
        """Stem by stem, its spectrum in frames [first, last) of a stretch's spectrum [channels, bins, frames].

        One at a time, as C libraries take memory anew from the system, page by page, for all at once.
        """
        near = slice(max(0, first - self.reach), last + self.reach)
        mixture = spectrum[..., near]
        magnitudes = self.network(spectrum.abs()[None], None if self.filtered else self.stems, near)[0]
        if self.filtered:
            inner = slice(first - near.start, last - near.start)
            yield from wiener(magnitudes, mixture, self.reach)[self.stems, ..., inner]
        else:
            phase = unit_phase(mixture)
            yield from (with_phase(magnitude, phase) for magnitude in magnitudes)

    def _emit(self, pieces: list[Tensor], limit: int | None = None) -> Tensor:
        """Pieces joined, without the silence before the signal and, at the end, after it."""
        joined = torch.cat([self.overlap[..., :0], *pieces], dim=-1)
        silence = max(0, self.silence - self.emitted)
        self.emitted += joined.shape[-1]
        return joined[..., silence:limit]


class Passes:
    """The mean of several passes over a waveform, which differ in their delays; pieces in and estimates out as of each of them."""

    def __init__(self, networks: Sequence[StreamingNetwork]) -> None:
        self.networks = tuple(networks)
        self.ready = [network.overlap[..., :0] for network in networks]  # what one has and another has not yet

    def push(self, wave: Tensor) -> Tensor:
        """Take [channels, n]; return what is final, [stems, channels, m] with m from 0 on."""
        return self._mean([network.push(wave) for network in self.networks])

    def finish(self) -> Tensor:
        """The rest, after the last `push`."""
        return self._mean([network.finish() for network in self.networks])

    def _mean(self, new: list[Tensor]) -> Tensor:
        ready = [torch.cat(parts, dim=-1) for parts in zip(self.ready, new, strict=True)]
        count = min(part.shape[-1] for part in ready)
        self.ready = [part[..., count:].clone() for part in ready]
        first, *others = (part[..., :count] for part in ready)
        for other in others:
            first += other
        return first / len(ready)


def delays(hop: int, passes: int) -> list[int]:
    """Of every pass, in samples: frames of all together lie evenly."""
    return [number * hop // passes for number in range(passes)]


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
