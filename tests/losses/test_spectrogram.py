import pytest
import torch

from separate.losses.spectrogram import BandL2, SpectrogramL2

SHAPE = (3, 2, 2, 33, 10)


def spectra() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(*SHAPE, dtype=torch.complex64, generator=generator)
    return target, target.sum(1, keepdim=True) + 0.3 * torch.randn(3, 1, 2, 33, 10, dtype=torch.complex64, generator=generator)


def test_l2_is_the_written_out_mean() -> None:
    target, mixture = spectra()
    estimate = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    expected = 0.0
    for i in range(3):
        error = sum(float((estimate[i, s] - target[i, s].abs()).square().mean()) for s in range(2)) / 2
        expected += error / float(mixture[i].abs().square().mean()) / 3
    assert float(SpectrogramL2()(estimate, target, mixture)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [SpectrogramL2(), BandL2((0.25, 0.5))])
def test_losses_do_not_depend_on_the_level(loss: torch.nn.Module) -> None:
    target, mixture = spectra()
    estimate = torch.rand(SHAPE)
    plain, loud = loss(estimate, target, mixture), loss(100 * estimate, 100 * target, 100 * mixture)
    torch.testing.assert_close(plain, loud, rtol=1e-4, atol=0)


@pytest.mark.parametrize("loss", [SpectrogramL2(), BandL2((0.25, 0.5))])
def test_a_perfect_estimate_is_free_and_silence_has_a_finite_gradient(loss: torch.nn.Module) -> None:
    target, _ = spectra()
    mixture = target[:, :1]
    assert float(loss(mixture.abs(), mixture, mixture)) < 1e-3
    estimate = torch.zeros(SHAPE, requires_grad=True)
    loss(estimate, torch.zeros_like(target), torch.zeros_like(mixture)).backward()
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("loss", [SpectrogramL2(), BandL2((0.25, 0.5))])
def test_an_example_with_a_silent_mixture_counts_as_nothing(loss: torch.nn.Module) -> None:
    target, mixture = spectra()
    estimate = torch.rand(SHAPE)
    others = loss(estimate[1:], target[1:], mixture[1:])
    target[0], mixture[0] = 0, 0
    estimate.requires_grad_()
    found = loss(estimate, target, mixture)
    found.backward()
    torch.testing.assert_close(3 * found, 2 * others)
    assert not estimate.grad[0].any() and estimate.grad[1:].any()


def test_band_l2_is_the_written_out_mean() -> None:
    target, mixture = spectra()
    estimate = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
    error = (estimate * torch.exp(1j * mixture.angle()) - target).abs().square()
    total = 0.0
    for i in range(3):
        for s in range(2):
            for low, high in ((0, 8), (8, 16), (16, 33)):
                ratio = error[i, s, :, low:high].sum() / mixture[i, 0, :, low:high].abs().square().sum()
                total += float(ratio) / 18
    assert float(BandL2((0.25, 0.5))(estimate, target, mixture)) == pytest.approx(total, rel=1e-4)


def test_the_phase_aware_optimum_is_the_projection() -> None:
    """Where target and mixture are in quadrature, silence is the best magnitude; the magnitude loss wants the target's."""
    target, mixture = torch.full((1, 1, 1, 1, 1), 1j), torch.ones(1, 1, 1, 1, 1, dtype=torch.complex64)
    silence, full = torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1)
    assert BandL2((0.5,))(silence, target, mixture) < BandL2((0.5,))(full, target, mixture)
    assert SpectrogramL2()(silence, target, mixture) > SpectrogramL2()(full, target, mixture)
