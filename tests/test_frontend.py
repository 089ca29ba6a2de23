import pytest
import torch
from scipy.signal import ShortTimeFFT, get_window

from separate.frontend import FrontEnd, FrontEndConfig

GEOMETRIES = [(2048, 1024), (2048, 512), (512, 128), (4096, 1024)]


@pytest.mark.parametrize("n_fft, hop", GEOMETRIES)
@pytest.mark.parametrize("samples", [1, 2, 511, 1024, 1025, 30011])
def test_the_inverse_gives_the_signal_back_up_to_both_ends(n_fft: int, hop: int, samples: int) -> None:
    front_end = FrontEnd(FrontEndConfig(n_fft, hop))
    wave = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(samples))
    spectrum = front_end.stft(wave)
    assert spectrum.shape == (2, 3, n_fft // 2 + 1, front_end.config.frames(samples))
    torch.testing.assert_close(front_end.istft(spectrum, samples), wave, atol=1e-5, rtol=0)


def test_frames_are_those_of_scipy() -> None:
    wave = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    ours = FrontEnd().stft(wave)
    reference = ShortTimeFFT(get_window("hann", 2048), hop=1024, fs=1, phase_shift=None)
    theirs = torch.from_numpy(reference.stft(wave.double().numpy(), p0=0, p1=ours.shape[-1]))  # centred on multiples of the hop
    torch.testing.assert_close(ours.to(torch.complex128), theirs, atol=1e-4, rtol=0)


def test_stretches_add_up_to_the_signal() -> None:
    front_end = FrontEnd(FrontEndConfig(512, 128))
    config, wave = front_end.config, torch.randn(1, 10000, generator=torch.Generator().manual_seed(1))
    spectrum = front_end.stft(wave)
    total = torch.zeros(1, (spectrum.shape[-1] - 1) * config.hop_length + config.n_fft)
    for start in range(0, spectrum.shape[-1], 7):
        piece = front_end.synthesise(spectrum[..., start : start + 7])
        total[:, start * config.hop_length : start * config.hop_length + piece.shape[-1]] += piece
    torch.testing.assert_close(total[:, config.lead : config.lead + 10000], wave, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_fft, hop", [(2048, 2048), (2048, 1000), (2048, 0)])
def test_geometries_without_a_perfect_inverse_are_refused(n_fft: int, hop: int) -> None:
    with pytest.raises(ValueError, match="hop_length"):
        FrontEndConfig(n_fft, hop)


def test_a_wrong_length_is_refused() -> None:
    front_end = FrontEnd()
    with pytest.raises(ValueError, match="frames"):
        front_end.istft(front_end.stft(torch.zeros(5000)), 9000)
