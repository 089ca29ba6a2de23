import pytest
import torch

from separate.losses.feature import EPSILON, FeatureLoss, PictureConfig, feature_term, gram, picture, style_term
from separate.losses.spectrogram import SpectrogramL2
from separate.models.vgg import IMAGENET_MEAN, IMAGENET_STD, VGGFeatures

TAPS = ("relu1_2", "relu2_1")
SHAPE = (2, 1, 2, 64, 32)


def spectra(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimated magnitude, target, mixture."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(SHAPE, dtype=torch.complex64, generator=generator)
    mixture = target + torch.randn(SHAPE, dtype=torch.complex64, generator=generator)
    return torch.rand(SHAPE, generator=generator), target, mixture


@pytest.fixture(scope="module")
def vgg() -> VGGFeatures:
    return VGGFeatures(taps=TAPS)


@pytest.mark.parametrize("channels", ["mono", "stereo"])
def test_terms_are_the_written_out_ones(vgg: VGGFeatures, channels: str) -> None:
    estimate, target, mixture = spectra()
    config = PictureConfig(channels=channels, top=0.5, pool=(2, 2))
    terms = FeatureLoss(vgg, picture=config)(estimate, target, mixture)

    def activations(magnitude: torch.Tensor) -> list[torch.Tensor]:
        images = []
        for i in range(2):
            level = mixture[i].abs().square().mean().sqrt()
            left, right = magnitude[i, 0, :, :32]
            planes = [(left + right) / 2] * 3 if channels == "mono" else [left, right, (left + right) / 2]
            images.append(torch.stack([0.4 * (plane / level) ** 0.3 for plane in planes]))
        pooled = torch.nn.functional.avg_pool2d(torch.stack(images), (2, 2))
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        if channels == "mono":
            mean, std = mean.mean().expand(3), std.mean().expand(3)
        return vgg((pooled - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))

    feature = style = 0.0
    for got, wanted in zip(activations(estimate), activations(target.abs()), strict=True):
        feature += float((got - wanted).square().mean() / wanted.square().mean()) / 2
        for a, b in zip(got, wanted, strict=True):
            c, h, w = a.shape
            grams = [torch.einsum("ihw,jhw->ij", x, x) / (c * h * w) for x in (a, b)]
            style += float((grams[0] - grams[1]).square().sum() / (grams[1].square().sum() + EPSILON)) / 4
    assert float(terms["feature"]) == pytest.approx(0.25 * feature, rel=1e-3)
    assert float(terms["style"]) == pytest.approx(0.25 * style, rel=1e-3)
    assert float(terms["pixel"]) == pytest.approx(0.5 * float(SpectrogramL2()(estimate, target, mixture)))


def test_nothing_is_learnt_from_an_example_with_a_silent_mixture(vgg: VGGFeatures) -> None:
    estimate, target, mixture = spectra()
    target[0], mixture[0] = 0, 0
    estimate.requires_grad_()
    torch.stack(list(FeatureLoss(vgg)(estimate, target, mixture).values())).sum().backward()
    assert not estimate.grad[0].any() and estimate.grad[1].isfinite().all() and estimate.grad[1].any()


def test_equal_spectra_cost_nothing(vgg: VGGFeatures) -> None:
    _, target, mixture = spectra()
    for name, term in FeatureLoss(vgg)(target.abs(), target, mixture).items():
        assert float(term) == pytest.approx(0, abs=1e-9), name


def test_terms_do_not_depend_on_the_level(vgg: VGGFeatures) -> None:
    estimate, target, mixture = spectra()
    quiet = FeatureLoss(vgg)(estimate, target, mixture)
    loud = FeatureLoss(vgg)(300 * estimate, 300 * target, 300 * mixture)
    for name, term in quiet.items():
        assert float(term) == pytest.approx(float(loud[name]), rel=1e-3), name


def test_a_term_of_weight_zero_is_left_out(vgg: VGGFeatures) -> None:
    assert set(FeatureLoss(vgg, (1.0, 0.0, 0.0))(*spectra())) == {"pixel"}
    assert set(FeatureLoss(vgg, (0.5, 0.5, 0.0))(*spectra())) == {"pixel", "feature"}


def test_gradients_are_those_of_finite_differences() -> None:
    vgg = VGGFeatures(taps=("relu1_2",)).double()
    estimate, target, mixture = (part[:1, :, :1, :6, :4] for part in spectra())
    loss = FeatureLoss(vgg, pixel=SpectrogramL2(), picture=PictureConfig(pool=(1, 1)))

    def total(magnitude: torch.Tensor) -> torch.Tensor:
        return sum(loss(magnitude, target.to(torch.complex128), mixture.to(torch.complex128)).values())

    # Activations pass through float32 inside the terms: the step is as large as that asks for.
    assert torch.autograd.gradcheck(total, (estimate.double().add(0.1).requires_grad_(),), eps=1e-3, atol=5e-3, rtol=5e-2)


def test_style_does_not_notice_a_shift_in_time_by_the_pooling_stride_and_features_do(vgg: VGGFeatures) -> None:
    """Content in the middle of silence, moved by whole pixels of the deepest tap."""
    image = torch.full((1, 1, 32, 64), -1.0)
    image[:, :, :, 24:40] = torch.rand(1, 1, 32, 16, generator=torch.Generator().manual_seed(0))
    first, moved = vgg(image), vgg(image.roll(4, -1))
    assert float(style_term(moved, first)) < 1e-9
    assert float(feature_term(moved, first)) > 1e-3


def test_gram_is_the_definition() -> None:
    activation = torch.rand(2, 3, 4, 5)
    expected = torch.einsum("bchw,bdhw->bcd", activation, activation) / (3 * 4 * 5)
    torch.testing.assert_close(gram(activation), expected)


def test_the_picture_keeps_what_it_says() -> None:
    level = torch.ones(1, 1, 1, 1)
    out = picture(torch.ones(1, 2, 100, 8), level, PictureConfig(top=0.5, pool=(2, 4), brightness=0.5))
    assert out.shape == (1, 1, 25, 2)
    mean, std = sum(IMAGENET_MEAN) / 3, sum(IMAGENET_STD) / 3
    torch.testing.assert_close(out, torch.full_like(out, (0.5 - mean) / std))


def test_gram_matrices_keep_float32_under_autocast() -> None:
    activation = torch.randn(1, 8, 6, 6)
    expected = gram(activation)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gram(activation), expected)
