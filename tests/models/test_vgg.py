import pytest
import torch
import torchvision

from separate.models.vgg import IMAGENET_MEAN, IMAGENET_STD, VGGFeatures, convolutions, layer_names


def test_taps_are_torchvisions_activations_under_the_literatures_names() -> None:
    torch.manual_seed(3)
    reference = torchvision.models.vgg19(weights=None).features.eval()
    ours = VGGFeatures("vgg19", ("relu1_2", "relu2_2", "relu3_1"), reference.state_dict())
    image = torch.rand(2, 3, 32, 24)
    places = {"relu1_2": 3, "relu2_2": 8, "relu3_1": 11}
    for (name, place), activation in zip(places.items(), ours(image), strict=True):
        torch.testing.assert_close(activation, reference[: place + 1](image), msg=name)
    assert len(ours.layers) == 12  # nothing after the last tap


def test_names_follow_the_table_of_the_paper() -> None:
    names = layer_names(torchvision.models.vgg16(weights=None).features)
    assert names[:5] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"]
    assert names[-1] == "pool5" and "relu3_3" in names and "relu3_4" not in names


def test_random_weights_are_drawn_as_torchvision_draws_them() -> None:
    ours, reference = convolutions("vgg11"), torchvision.models.vgg11(weights=None).features
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in reference.parameters()]
    for mine, its in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.std(), its.std(), rtol=0.1, atol=1e-6)


def test_a_grey_picture_is_three_equal_channels() -> None:
    vgg, grey = VGGFeatures(taps=("relu2_1",)), torch.rand(1, 1, 16, 16)
    mean, std = torch.tensor(IMAGENET_MEAN).mean(), torch.tensor(IMAGENET_STD).mean()
    normalised = (grey - mean) / std
    torch.testing.assert_close(vgg(normalised)[0], vgg(normalised.expand(-1, 3, -1, -1))[0], atol=1e-4, rtol=1e-4)


def test_it_is_frozen_but_lets_gradients_through() -> None:
    vgg = VGGFeatures(taps=("relu1_1",))
    outer = torch.nn.ModuleList([vgg]).train()
    assert not vgg.training and outer.training
    picture = torch.rand(1, 3, 8, 8, requires_grad=True)
    vgg(picture)[0].sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in vgg.parameters())


def test_random_weights_follow_the_seed_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second, other = (VGGFeatures(taps=("conv1_1",), seed=seed).layers[0].weight for seed in (5, 5, 6))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "resnet"}, "no network 'resnet'"),
        ({"taps": ("relu9_9",)}, "no layer 'relu9_9'"),
        ({"taps": ()}, "at least one"),
        ({"weights": {}}, r"lack 0\.weight, which conv1_1 needs"),
        (
            {"taps": ("relu1_1",), "weights": {"0.weight": torch.zeros(64, 1, 3, 3), "0.bias": torch.zeros(64)}},
            r"0\.weight is \[64, 1, 3, 3\]",
        ),
    ],
)
def test_what_does_not_exist_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VGGFeatures(**arguments)
