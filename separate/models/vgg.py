"""A frozen VGG as a measuring instrument: activations at named layers, for losses on features (Simonyan and Zisserman 2015).

Layers carry the literature's names: relu2_2 is the second rectifier of the second block. The network ends after the last layer asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torchvision
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NAMES = ("vgg11", "vgg13", "vgg16", "vgg19")


def layer_names(features: nn.Sequential) -> list[str]:
    """conv1_1, relu1_1, ..., pool1, conv2_1, ... for torchvision's `features`."""
    names, block, number = [], 1, 0
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            names.append(f"pool{block}")
            block, number = block + 1, 0
        else:
            number += isinstance(layer, nn.Conv2d)
            names.append(f"{'conv' if isinstance(layer, nn.Conv2d) else 'relu'}{block}_{number}")
    return names


def layer_place(name: str, features: nn.Sequential, layer: str) -> int:
    """Number of a layer in torchvision's `features` of the network `name`. Raises ValueError if it has none of that name."""
    names = layer_names(features)
    if layer not in names:
        raise ValueError(f"{name} has no layer {layer!r}; it has {', '.join(names)}")
    return names.index(layer)


def convolutions(name: str) -> nn.Sequential:
    """torchvision's `features` with random weights (He et al. 2015, as there); the classifier's 120 M parameters are never made."""
    with torch.device("meta"):
        features: nn.Sequential = getattr(torchvision.models, name)(weights=None).features
    features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
    return features


class VGGFeatures(nn.Module):
    """[batch, 3, height, width] in torchvision's convention, or [batch, 1, ...] for a grey picture -> activations at `taps`, in order.

    weights: tensors named as in torchvision's `features` ("0.weight", ...), of which those up to the last tap are needed; None draws
    them at random from `seed`. Never trained, never in train mode: no weight gets a gradient, the input does. Raises ValueError on a
    network, tap or weights that do not exist or fit.
    """

    def __init__(
        self, name: str = "vgg19", taps: Sequence[str] = ("relu1_2", "relu2_2"), weights: Mapping[str, Tensor] | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if name not in NAMES:
            raise ValueError(f"no network {name!r}; choose from {', '.join(NAMES)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            features = convolutions(name)
        if not taps:
            raise ValueError("at least one tap")
        self.taps = tuple(taps)
        self.places = [layer_place(name, features, tap) for tap in taps]
        last = max(self.places)
        self.layers = nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in features[: last + 1]))
        if weights is not None:
            needed = self.layers.state_dict()
            if missing := [key for key in needed if key not in weights]:
                raise ValueError(f"the weights lack {missing[0]}, which {layer_names(features)[int(missing[0].split('.')[0])]} needs")
            if wrong := [key for key in needed if weights[key].shape != needed[key].shape]:
                raise ValueError(f"the weights' {wrong[0]} is {[*weights[wrong[0]].shape]}, not {[*needed[wrong[0]].shape]}")
            self.layers.load_state_dict({key: weights[key].float() for key in needed})
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> VGGFeatures:
        """Stays in eval mode."""
        return super().train(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        x = picture
        for place, layer in enumerate(self.layers):
            if place == 0 and picture.shape[1] == 1:  # three equal channels, at a third of the cost
                first = cast(nn.Conv2d, layer)
                x = nn.functional.conv2d(x, first.weight.sum(1, keepdim=True), first.bias, padding=1)
            else:
                x = layer(x)
            if place in self.places:
                found[place] = x
        return [found[place] for place in self.places]
