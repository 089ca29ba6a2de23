import numpy as np
import pytest
import torch

from separate.wiener import DIFFUSE, wiener


def spectra(stems: int, channels: int, bins: int = 3, frames: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitudes of stems and the complex mixture that they are meant for."""
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randn(stems, channels, bins, frames, dtype=torch.complex64, generator=generator)
    return sources.abs() * (0.5 + torch.rand(sources.shape, generator=generator)), sources.sum(0)


def textbook(magnitudes: np.ndarray, mixture: np.ndarray, reach: int) -> np.ndarray:
    """v_j R_j (sum v_k R_k)^-1 x, bin by bin and frame by frame, with matrices."""
    stems, channels, bins, frames = magnitudes.shape
    initial = magnitudes * mixture / np.abs(mixture)
    v = (np.abs(initial) ** 2).mean(1)
    out = np.zeros_like(initial)
    for f in range(bins):
        for t in range(frames):
            near = range(max(0, t - reach), min(frames, t + reach + 1))
            parts = []
            for j in range(stems):
                outer = sum(np.outer(initial[j, :, f, n], initial[j, :, f, n].conj()) for n in near)
                covariance = outer / sum(v[j, f, n] for n in near)
                parts.append(v[j, f, t] * (covariance + DIFFUSE * np.trace(covariance) * np.eye(channels)))
            filtered = np.linalg.inv(sum(parts)) @ mixture[:, f, t]
            for j in range(stems):
                out[j, :, f, t] = parts[j] @ filtered
    return out


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stems", [1, 2, 4])
@pytest.mark.parametrize("reach", [2, 100])
def test_it_is_the_textbooks_formula(channels: int, stems: int, reach: int) -> None:
    magnitudes, mixture = spectra(stems, channels)
    expected = textbook(magnitudes.double().numpy(), mixture.to(torch.complex128).numpy(), reach)
    torch.testing.assert_close(wiener(magnitudes, mixture, reach), torch.from_numpy(expected).to(torch.complex64), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 2])
def test_stems_sum_to_the_mixture(channels: int) -> None:
    magnitudes, mixture = spectra(4, channels)
    torch.testing.assert_close(wiener(magnitudes, mixture, 4).sum(0), mixture, atol=1e-4, rtol=1e-4)


def test_places_in_the_stereo_picture_are_told_apart() -> None:
    """Two sources with equal magnitudes, one left and one right of the middle: masks alone cannot part them where they overlap."""
    generator = torch.Generator().manual_seed(1)
    dry = torch.randn(2, 1, 5, 200, dtype=torch.complex64, generator=generator)
    sources = dry * torch.tensor([[1.0, 0.3], [0.3, 1.0]])[:, :, None, None]
    mixture = sources.sum(0)
    masked = sources.abs() * mixture / mixture.abs()
    error, before = ((estimate - sources).abs().square().sum() for estimate in (wiener(sources.abs(), mixture, 100), masked))
    assert error < 0.5 * before


@pytest.mark.parametrize("signal", ["silence", "one stem silent", "mono in two channels", "tiny", "loud"])
def test_nothing_divides_by_nothing(signal: str) -> None:
    magnitudes, mixture = spectra(3, 2)
    if signal == "silence":
        magnitudes, mixture = torch.zeros_like(magnitudes), torch.zeros_like(mixture)
    if signal == "one stem silent":
        magnitudes[1] = 0
    if signal == "mono in two channels":
        mixture, magnitudes = mixture[:1].expand(2, -1, -1), magnitudes[:, :1].expand(-1, 2, -1, -1)
    if signal in ("tiny", "loud"):
        scale = 1e-12 if signal == "tiny" else 1e6
        magnitudes, mixture = magnitudes * scale, mixture * scale
    out = wiener(magnitudes, mixture, 5)
    assert out.isfinite().all()
    assert (out.sum(0) - mixture).abs().max() <= 1e-3 * mixture.abs().max()
    if signal == "one stem silent":
        assert out[1].abs().max() == 0


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="one or two channels"):
        wiener(torch.ones(1, 3, 2, 2), torch.ones(3, 2, 2, dtype=torch.complex64), 1)
