"""Separator: a mixture in, its stems out, as tensors, as a stream, or from file to files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from separate import pretrained
from separate.audio import Resampler
from separate.errors import AudioError, ModelError, NotFiniteError
from separate.files import Job, Result, separate_file
from separate.frontend import FrontEnd
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import Card
from separate.streaming import Passes, StreamingNetwork, delays

CHUNK_FRAMES = 192  # computed at a time: longer chunks cost memory for a little more speed, see benchmarks/README.md
CUDA_CHUNK_FRAMES = 512  # on a CUDA device, where both shorter and longer ones were slower
PASSES = 2  # over a song, see benchmarks/README.md for what one or four would give
PIECE = 10  # seconds of a block at a time: a hook hears of it in between, and memory for longer results would be taken anew each time
Hook = Callable[[int, int | None], None]
Stems = dict[str, Tensor]


class Separator:
    """A network bound to its front-end, stem names and rate. Make one with `Separator.load`.

    Sound is float32 [channels, samples], one or two channels, full scale 1.0, at any rate from 8 to 192 kHz; it is resampled to the model's
    rate and back. Every stem has the mixture's length, rate and channels. `offers` names what can be asked for: the model's stems, and
    "accompaniment", the mixture minus the vocals. `dtype`, torch.float32 or torch.bfloat16, is what the network's layers compute in, and
    `chunk_frames` how many frames at a time, 192 or on a CUDA device 512, for which a stream waits; but for rounding, what comes out does
    not depend on it. `passes`: how often the network sees the song, each time at frames that lie elsewhere; the mean is taken.
    """

    def __init__(
        self, network: MMDenseNet, card: Card, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, passes: int = PASSES
    ) -> None:
        if not 1 <= passes <= card.front_end.hop_length:
            raise ModelError(f"{passes} passes cannot be made; one or more can, each at frames of its own")
        self.card, self.passes = card, passes
        self.device, self.dtype = torch.device(device), dtype
        self.chunk_frames = CUDA_CHUNK_FRAMES if self.device.type == "cuda" else CHUNK_FRAMES
        self.network = network.folded(dtype).to(self.device)
        self.front_end = FrontEnd(card.front_end).to(self.device)

    @classmethod
    def load(cls, model: str | Path = pretrained.DEFAULT, device: str = "auto", precision: str = "auto", fast: bool = False) -> Separator:
        """A model that came with the package, by name, or any model's folder, by path.

        device: "auto", "cpu", "cuda", "cuda:1" and so on, or "mps". precision of the network's layers: "float32", "bfloat16", or "auto":
        bfloat16 on processors that compute in it, where it takes a third to a half less time. fast: one pass over the song instead of
        two, in half the work and a little worse. Raises ModelError if there is no such model, device or precision, or the model is damaged.
        """
        where = _device(device)
        dtype = _dtype(precision, where)
        folder = pretrained.find(model)
        card = pretrained.read_card(folder)
        return cls(pretrained.load(folder, card), card, where, dtype, 1 if fast else PASSES)

    @property
    def offers(self) -> tuple[str, ...]:
        return self.card.offers

    def __call__(self, audio: Tensor, rate: int, stems: Iterable[str] | None = None, hook: Hook | None = None) -> Stems:
        """Stems of a whole mixture [channels, samples] in memory; all that are on offer if `stems` is None.

        hook(done, total), in samples, is called as work goes on; raise `Cancelled` in it to stop. Raises AudioError on audio that is not
        a tensor of floating-point numbers, finite, not empty and of at most two channels, or whose stems would not be finite, ModelError
        on a stem that is not on offer.
        """
        _check_sound(audio)
        total = audio.shape[-1]
        pieces = list(self.stream([audio], rate, stems, hook and (lambda done, _: hook(done, total))))
        return {name: torch.cat([piece[name] for piece in pieces], dim=-1) for name in pieces[0]}

    def stream(
        self,
        blocks: Iterable[Tensor],
        rate: int,
        stems: Iterable[str] | None = None,
        hook: Hook | None = None,
        consistent: bool = False,
        wiener: bool = False,
    ) -> Iterator[Stems]:
        """Stems of a mixture that arrives in blocks [channels, n], of any length and any number, as they become final.

        The result does not depend on how the mixture is cut, and memory not on its length. consistent: spread what the sum of a model's
        stems lacks over them evenly, so that they sum to the mixture (models of one stem stay as they are). wiener: multichannel Wiener
        filter over all stems, which then sum to the mixture at the model's rate; raises ModelError if the model has but one.
        hook(done, None) counts samples delivered.
        """
        wanted = self.check_stems(stems)
        if wiener and len(self.card.stems) == 1:
            raise ModelError(f"the Wiener filter needs all stems of a song, the model {self.card.name} has {self.card.stems[0]} only")
        pipe: _Pipe | None = None
        done = 0
        for block in blocks:
            _check_sound(block)
            if pipe is None:
                pipe = _Pipe(self, block.shape[0], rate, wanted, consistent, wiener)
            for start in range(0, block.shape[-1], rate * PIECE):
                out = pipe.push(block[:, start : start + rate * PIECE])
                done += next(iter(out.values())).shape[-1]
                if hook:
                    hook(done, None)
                yield out
        if pipe is None or not pipe.received:
            raise AudioError("there is no audio to separate")
        yield pipe.finish()
        if hook:
            hook(pipe.received, None)

    def file(self, path: str | Path, job: Job | None = None, hook: Hook | None = None) -> Result:
        """Separate a file into files, as `job` says: see separate.files."""
        return separate_file(self, Path(path), job or Job(), hook=hook)

    def check_stems(self, stems: Iterable[str] | None) -> tuple[str, ...]:
        """The stems wanted, each once; raises ModelError on one that is not on offer."""
        if isinstance(stems, str):
            raise ModelError(f"stems are a list of names; give [{stems!r}] rather than {stems!r}")
        stems = tuple(stems or ())
        if unknown := [stem for stem in stems if stem not in self.offers]:
            raise ModelError(f"the model {self.card.name} has no stem {unknown[0]!r}; it offers {', '.join(self.offers)}")
        return tuple(dict.fromkeys(stems)) if stems else self.offers


class _Pipe:
    """Resample, separate, resample back, and keep the mixture at its own rate until its stems are there.

    Gradients are off within its methods only: between them runs the code of whoever takes the stems.
    """

    def __init__(self, separator: Separator, channels: int, rate: int, wanted: tuple[str, ...], consistent: bool, wiener: bool) -> None:
        if not 1 <= channels <= 2:
            raise AudioError("a mixture is [channels, samples] with one or two channels")
        if not 8000 <= rate <= 192000:
            raise AudioError(f"a rate of {rate} Hz is out of range; 8000 to 192000 Hz can be separated")
        card = separator.card
        self.wanted, self.channels = wanted, channels
        self.consistent = consistent and len(card.stems) > 1
        needed = {*wanted, "vocals"} if "accompaniment" in wanted else {*wanted}
        self.names = card.stems if self.consistent else tuple(stem for stem in card.stems if stem in needed)
        self.inner = card.network.channels
        numbers = [card.stems.index(name) for name in self.names]
        network, front_end, frames = separator.network, separator.front_end, separator.chunk_frames
        lags = delays(front_end.config.hop_length, separator.passes)
        self.network = Passes([StreamingNetwork(network, front_end, frames, numbers, wiener, lag) for lag in lags])
        self.down = Resampler(rate, card.rate, self.inner)
        self.up = Resampler(card.rate, rate, self.inner * len(self.names))
        self.mixture = torch.zeros(channels, 0, dtype=torch.float32, device="cpu")
        self.held: list[Tensor] = []  # blocks that are too short to be worth going through all of what waits
        self.least = rate // 10
        self.received = self.sent = 0

    @torch.no_grad()
    def push(self, block: Tensor) -> Stems:
        block = block.detach().to("cpu", torch.float32)
        if block.shape[0] != self.channels:
            raise AudioError("the number of channels changed between blocks")
        if not bool(block.isfinite().all()):
            raise AudioError("the mixture holds samples that are not numbers (NaN or infinite)")
        self.received += block.shape[-1]
        self.held.append(block)
        if sum(held.shape[-1] for held in self.held) < self.least:
            self.held[-1] = block.clone()  # whoever gave it may use its memory again
            return {name: torch.zeros(self.channels, 0, dtype=torch.float32, device="cpu") for name in self.wanted}
        return self._deliver(self._upward(self._separate()))

    def _separate(self) -> Tensor:
        """What is held, at the mixture's rate, through the network: [stems, inner, m] at the model's."""
        block, self.held = torch.cat(self.held, dim=-1), []
        self.mixture = torch.cat((self.mixture, block), dim=-1)
        wave = block.expand(self.inner, -1) if self.inner >= self.channels else block.mean(0, keepdim=True)
        return self.network.push(_tensor(self.down.push(wave.T.numpy())))

    @torch.no_grad()
    def finish(self) -> Stems:
        last = [self._separate()] if self.held else []
        rest = self.down.push(np.zeros((0, self.inner), dtype=np.float32), last=True)
        last += [self.network.push(_tensor(rest))] if len(rest) else []
        last.append(self.network.finish())
        estimates = self._upward(torch.cat(last, dim=-1), last=True)
        missing = self.received - self.sent - estimates.shape[-1]
        # Two resamplings may round to a sample more or less than there was.
        estimates = torch.nn.functional.pad(estimates, (0, max(0, missing)))[..., : self.received - self.sent]
        return self._deliver(estimates)

    def _upward(self, estimates: Tensor, last: bool = False) -> Tensor:
        """[stems, inner, m] at the model's rate -> [stems, inner, n] at the mixture's."""
        out = _tensor(self.up.push(estimates.flatten(0, 1).T.cpu().numpy(), last))
        return out.reshape(len(self.names), self.inner, -1)[..., : self.received - self.sent]

    def _deliver(self, estimates: Tensor) -> Stems:
        count = estimates.shape[-1]
        self.sent += count
        mixture, self.mixture = self.mixture[:, :count], self.mixture[:, count:].clone()
        if self.inner != self.channels:
            estimates = estimates.mean(1, keepdim=True).expand(-1, self.channels, -1)
        if self.consistent:
            estimates = estimates + (mixture - estimates.sum(0)) / len(self.names)
        stems = dict(zip(self.names, estimates, strict=True))
        if "accompaniment" in self.wanted:
            stems["accompaniment"] = mixture - stems["vocals"]
        if not all(bool(stem.isfinite().all()) for stem in stems.values()):
            raise NotFiniteError("the stems would not be numbers (NaN or infinite); is the sound far beyond full scale?")
        return {name: stems[name] for name in self.wanted}


def _check_sound(audio: object) -> None:
    """Raise AudioError unless it is a tensor [channels, samples] of floating-point numbers: of integers, full scale is unknown."""
    if not isinstance(audio, Tensor):
        raise AudioError(f"a mixture is a torch tensor, not {type(audio).__name__}; torch.from_numpy makes one of a numpy array")
    if not audio.is_floating_point():
        raise AudioError(f"a mixture is floating point, full scale 1.0, not {audio.dtype}; divide it, int16 by 32768")
    if audio.ndim != 2:
        raise AudioError(f"a mixture is [channels, samples] with one or two channels, not of {audio.ndim} dimensions")


def _tensor(block: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(block.T))


def _device(name: str) -> torch.device:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        for kind in ("cuda", "mps"):
            if there[kind] and (trouble := _trouble(kind)):
                warnings.warn(f"the device {kind} cannot be used, the processor computes instead ({trouble})", stacklevel=3)
            elif there[kind]:
                return torch.device(kind)
        return torch.device("cpu")
    kind, colon, number = name.partition(":")
    if kind not in there or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ModelError(f"no device {name!r}; choose auto, cpu, cuda (or cuda:1, ...) or mps")
    if not there[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise ModelError(f"the device {name} is not available here; try cpu")
    if trouble := _trouble(name):
        raise ModelError(f"the device {name} cannot be used; try cpu ({trouble})")
    return torch.device(name)


def _trouble(device: str) -> str:
    """Why a device that is there computes nothing, as a card too old for this torch does; empty if it does."""
    try:
        torch.ones(1, device=device).add(1).cpu()
    except RuntimeError as error:
        return str(error).strip().partition("\n")[0]
    return ""


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; False where torch is too old to tell."""
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = "bfloat16" if device.type == "cpu" and has_bfloat16() else "float32"
    if precision not in ("float32", "bfloat16"):
        raise ModelError(f"no precision {precision!r}; choose auto, float32 or bfloat16")
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
