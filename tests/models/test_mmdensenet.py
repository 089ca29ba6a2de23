from dataclasses import replace

import pytest
import torch

from separate.models.config import PRESETS, MMDenseNetConfig, PathConfig
from separate.models.mmdensenet import MMDenseNet, TimeDistributed
from tests.conftest import apart_config, random_network, tiny_config

kinds = pytest.mark.parametrize("kind", [tiny_config, apart_config])


def parameters(config: MMDenseNetConfig) -> int:
    return sum(p.numel() for p in MMDenseNet(config).parameters())


def dense(channels: int, growth: int, layers: int) -> int:
    """3x3 convolutions without bias, each with a norm's weight and bias."""
    return sum((channels + i * growth) * growth * 9 + 2 * growth for i in range(layers))


def test_the_papers_table_gives_the_papers_number_of_parameters() -> None:
    """Written out from the table: three paths of seven blocks and a final block; the paper says about 0.3 M."""

    def path(kernel: int, blocks: list[tuple[int, int]], merge: int = 16) -> int:
        total, maps, skips = 2 * 32 * kernel + 64, 32, []
        for growth, layers in blocks[:3]:
            total, maps = total + dense(maps, growth, layers), growth
            skips.append(growth)
        total, maps = total + dense(maps, *blocks[3]), blocks[3][0]
        for (growth, layers), skip in zip(blocks[4:], reversed(skips), strict=True):
            total += maps * maps * 4 + 2 * maps + dense(maps + skip, growth, layers)
            maps = growth
        return total + maps * merge + 2 * merge

    low = path(12, [(14, 4)] + [(16, 4)] * 6)
    high = path(9, [(10, 3)] * 7)
    full = path(12, [(6, 2)] * 3 + [(6, 4)] + [(6, 2)] * 3)
    head = 4 * 2 + 2
    assert parameters(PRESETS["paper"]) == low + high + full + dense(32, 4, 2) + head == 267_734
    assert 0.25e6 < parameters(PRESETS["paper"]) < 0.35e6


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("frames", [1, 7, 16])
def test_presets_keep_the_shape(name: str, frames: int) -> None:
    config = PRESETS[name]
    out = MMDenseNet(config).eval()(torch.rand(1, 2, config.bins, frames))
    assert out.shape == (1, 1, 2, config.bins, frames)
    assert (out >= 0).all()


@pytest.mark.parametrize("within", [slice(0, 5), slice(3, 20), slice(18, None), slice(40, 64), slice(57, 58), slice(99, 107)])
@kinds
def test_a_part_of_the_frames_is_that_part_of_the_whole(kind, within: slice) -> None:
    network, magnitude = random_network(kind(2, "mask")), torch.rand(1, 2, 257, 107)
    torch.testing.assert_close(network(magnitude, [1], within), network(magnitude)[:, 1:, ..., within])


@pytest.mark.parametrize("output", ["mask", "magnitude"])
@kinds
def test_several_stems_come_out_and_a_mask_never_exceeds_the_mixture(kind, output: str) -> None:
    magnitude = torch.rand(2, 2, 257, 20)
    out = random_network(kind(3, output))(magnitude)
    assert out.shape == (2, 3, 2, 257, 20)
    if output == "mask":
        assert (out <= magnitude[:, None]).all()


@pytest.mark.parametrize("output", ["mask", "magnitude"])
@kinds
def test_chosen_stems_are_those_of_the_whole(kind, output: str) -> None:
    network, magnitude = random_network(kind(3, output)), torch.rand(1, 2, 257, 20)
    torch.testing.assert_close(network(magnitude, [2, 0]), network(magnitude)[:, [2, 0]])


@kinds
def test_the_context_covers_what_gradients_see_and_not_much_more(kind) -> None:
    """Output of a stretch aligned to the stride depends on `context` frames on either side and on none beyond."""
    config = kind()
    network = random_network(config).double()
    start, stop = 10 * config.stride, 12 * config.stride
    magnitude = torch.rand(1, 2, 257, 24 * config.stride, dtype=torch.float64).add_(0.1).requires_grad_()
    network(magnitude)[..., start:stop].sum().backward()
    touched = magnitude.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    left, right = start - int(touched[0]), int(touched[-1]) - (stop - 1)
    assert max(left, right) <= config.context
    assert max(left, right) >= config.context - config.stride


@kinds
def test_the_stride_is_the_shift_the_network_commutes_with(kind) -> None:
    config = kind()
    network = random_network(config).double()
    magnitude = torch.rand(1, 2, 257, 20 * config.stride, dtype=torch.float64)
    inner = slice(8 * config.stride, 10 * config.stride)
    plain = network(magnitude)[..., inner]
    shifted = network(magnitude.roll(config.stride, -1))[..., inner.start + config.stride : inner.stop + config.stride]
    torch.testing.assert_close(plain, shifted)
    half = config.stride // 2
    other = network(magnitude.roll(half, -1))[..., inner.start + half : inner.stop + half]
    assert (plain - other).abs().max() > 1e-4


@kinds
def test_folding_the_norms_changes_nothing(kind) -> None:
    network = random_network(kind(2))
    magnitude = torch.rand(1, 2, 257, 30)
    with torch.no_grad():
        torch.testing.assert_close(network.folded()(magnitude), network(magnitude), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.folded().modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@kinds
def test_silence_gives_silence(kind) -> None:
    out = random_network(kind())(torch.zeros(1, 2, 257, 8))
    assert out.abs().max() == 0


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda: PathConfig(5, 5, 4, (3, 3), ((4, 1),)), "at least one bin"),
        (lambda: PathConfig(0, 5, 4, (3, 3), ((4, 1),) * 2), "odd number"),
        (lambda: PathConfig(0, 5, 4, (3, 2), ((4, 1),)), "stem kernel"),
        (lambda: MMDenseNetConfig((PathConfig(1, 5, 4, (3, 3), ((4, 1),)),), PathConfig(0, 5, 4, (3, 3), ((4, 1),)), 4, (4, 1)), "tile"),
        (lambda: MMDenseNetConfig((PathConfig(0, 5, 4, (3, 3), ((4, 1),)),), PathConfig(0, 6, 4, (3, 3), ((4, 1),)), 4, (4, 1)), "cover"),
        (lambda: replace(tiny_config(), endings=((4, 4, 1),)), "1 endings for 2 bands"),
        (lambda: replace(apart_config(), full=replace(tiny_config().full, stem_stride=2)), "multiple of every band's"),
    ],
)
def test_configurations_that_make_no_network_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change()


def test_input_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 channels"):
        random_network(tiny_config())(torch.zeros(1, 1, 257, 8))


def test_bands_with_their_own_endings_hear_only_themselves_and_the_full_band() -> None:
    """At the edge between two of them nothing of the finer one's last maps reaches the coarser one's bins."""
    network, magnitude = random_network(apart_config()), torch.rand(1, 2, 257, 16)
    before = network(magnitude)
    network.bands[0].merge[0].weight.data.zero_()
    after = network(magnitude)
    torch.testing.assert_close(before[..., 64:, :], after[..., 64:, :], atol=0, rtol=0)
    assert not torch.allclose(before[..., :64, :], after[..., :64, :])


def test_tdf_layers_let_every_row_of_a_frame_hear_all_others_and_no_other_frame() -> None:
    torch.manual_seed(0)
    layer = TimeDistributed(12, 4)
    x = torch.rand(2, 3, 12, 5, requires_grad=True)
    assert torch.equal(layer(x), x)
    layer.spread.weight.data.normal_()
    seen = torch.autograd.grad(layer(x)[0, 1, 7, 2], x)[0] != 0
    assert seen[0, 1, :, 2].all()
    assert seen.sum() == 12


def test_tdf_layers_are_linear_layers_around_a_relu() -> None:
    layer, x = TimeDistributed(12, 4), torch.rand(2, 3, 12, 5)
    layer.spread.weight.data.normal_()
    rows = x.movedim(2, -1)
    torch.testing.assert_close(layer(x), (rows + layer.spread(torch.relu(layer.gather(rows)))).movedim(-1, 2))


def test_what_follows_the_bottleneck_is_all_that_embeddings_do_not_use() -> None:
    network = random_network(apart_config()).requires_grad_()
    network.embed(torch.rand(1, 2, 257, 16)).sum().backward()
    unused = {id(parameter) for parameter in network.parameters() if parameter.grad is None}
    assert unused == {id(parameter) for parameter in network.after_bottleneck().parameters()}
