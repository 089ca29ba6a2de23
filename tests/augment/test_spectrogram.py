import pytest
import torch

from separate.augment import spectrogram as views

TRANSFORMS = [
    views.Gain(),
    views.LinearFader(),
    views.Tilt(),
    views.LowPass(),
    views.TimeMask(0.5),
    views.FrequencyMask(0.5),
    views.Noise(),
    views.Mixup(),
    views.ResizeCrop(),
    views.Compose([views.Gain(), views.TimeMask(), views.Tilt()]),
    views.Compose([views.Gain(), views.Noise()], probability=1.0),
]
IDS = [f"{type(t).__name__}{number}" for number, t in enumerate(TRANSFORMS)]


def stems() -> torch.Tensor:
    """[batch 4, stems 3, channels 2, bins 40, frames 30]."""
    return torch.rand(4, 3, 2, 40, 30, generator=torch.Generator().manual_seed(0)) + 0.01


def draw(transform: views.View, magnitude: torch.Tensor, seed: int = 3) -> torch.Tensor:
    return transform(magnitude, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=IDS)
def test_whether_the_mixture_stays_the_sum_is_as_stated(transform: views.View) -> None:
    """Mixture and stems go through together; with `keeps_sum` the mixture comes out as the sum of the stems, without it does not."""
    parts = stems()
    both = torch.cat((parts.sum(1, keepdim=True), parts), dim=1)
    for seed in range(5):
        out = draw(transform, both, seed)
        assert out.shape == both.shape and (out >= 0).all() and out.isfinite().all()
        error = (out[:, 0] - out[:, 1:].sum(1)).abs().max()
        assert (error < 1e-4) == transform.keeps_sum


@pytest.mark.parametrize("transform", TRANSFORMS, ids=IDS)
def test_a_seed_gives_a_view_and_another_seed_another(transform: views.View) -> None:
    assert torch.equal(draw(transform, stems(), 1), draw(transform, stems(), 1))
    assert not torch.equal(draw(transform, stems(), 1), draw(transform, stems(), 2))


@pytest.mark.parametrize("transform", TRANSFORMS[:9], ids=IDS[:9])
def test_examples_are_drawn_one_by_one(transform: views.View) -> None:
    same = stems()[:1].expand(4, -1, -1, -1, -1)
    out = draw(transform, same)
    if not isinstance(transform, views.Mixup):  # of equal examples there is nothing to mix
        assert not torch.equal(out[0], out[1])


@pytest.mark.parametrize("transform", [t for t in TRANSFORMS[:9] if not t.moves_target and t.keeps_sum], ids=lambda t: type(t).__name__)
def test_what_does_not_move_the_target_only_scales_each_bin(transform: views.View) -> None:
    """A mask made before the transform still separates after it."""
    parts = stems()
    mixture = parts.sum(1, keepdim=True)
    out = draw(transform, torch.cat((mixture, parts), dim=1))
    torch.testing.assert_close(out[:, 1:], parts / mixture * out[:, :1], atol=1e-5, rtol=1e-4)


def test_ranges_are_kept() -> None:
    ones = torch.ones(200, 1, 40, 30)
    gains = 20 * draw(views.Gain(6.0), ones)[:, 0, 0, 0].log10()
    assert -6 <= gains.min() < -4 and 4 < gains.max() <= 6
    kept = draw(views.LowPass(0.45), ones)[:, 0, :, 0].sum(-1)
    assert 18 <= kept.min() < 22 and kept.max() > 37
    masked = 1 - draw(views.TimeMask(0.2), ones)[:, 0].mean((1, 2))
    assert masked.max() <= 0.2 + 1 / 30 and masked.max() > 0.1
    masked = 1 - draw(views.FrequencyMask(0.2), ones)[:, 0].mean((1, 2))
    assert masked.max() <= 0.2 + 1 / 40 and masked.max() > 0.1
    noise = draw(views.Noise(20, 20), ones) - 1
    assert 20 * float(noise.square().mean().sqrt().log10()) == pytest.approx(-20, abs=0.2)
    tilt = 20 * draw(views.Tilt(12), ones)[:, 0, :, 0].log10()
    torch.testing.assert_close(tilt[:, 0], -tilt[:, -1], atol=1e-3, rtol=0)
    assert tilt.abs().max() <= 6.001
