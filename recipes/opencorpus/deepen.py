"""Gives a model's bottlenecks more layers: `python -m recipes.opencorpus.deepen MODEL OUT [--layers 4]`. OUT is a start for training.

It does what the model did: the last layer of each bottleneck hears the new ones with weights of zero, until training changes them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor
from torch.nn.functional import pad

from recipes.export import notes_of, write_model
from separate.errors import ModelError
from separate.models.config import deepened
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import Card, load, read_card


def deepen(model: Path, out: Path, layers: int) -> Card:
    """Write OUT from a model's folder. Raises ModelError if the folder holds none, or one with as many layers."""
    card = read_card(model)
    depths = {path.blocks[path.halvings][1] for path in card.network.paths}
    if max(depths) >= layers:
        raise ModelError(f"{model}: a bottleneck has {max(depths)} layers, which is not less than {layers}")
    network = MMDenseNet(deepened(card.network, layers))
    state = network.state_dict()
    paths = [*(f"bands.{number}" for number in range(len(card.network.bands))), "full"]
    lasts = {
        f"{name}.bottleneck.layers.{path.blocks[path.halvings][1] - 1}.": f"{name}.bottleneck.layers.{layers - 1}."
        for name, path in zip(paths, card.network.paths, strict=True)
    }
    for name, tensor in load(model, card).state_dict().items():
        for old, new in lasts.items():
            name = name.replace(old, new)
        state[name] = _with_zeros(tensor, state[name])
    network.load_state_dict(state)
    return write_model(network, card.stems, card.rate, card.front_end, notes_of(card), out)


def _with_zeros(tensor: Tensor, like: Tensor) -> Tensor:
    """A convolution's weights with zeros for the maps it did not have; anything else as it is."""
    return pad(tensor, (0, 0, 0, 0, 0, like.shape[1] - tensor.shape[1])) if tensor.ndim == 4 else tensor


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.opencorpus.deepen", description=__doc__)
    for name in ("model", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args(arguments)
    card = deepen(options.model, options.out, options.layers)
    print(f"{options.out}: {card.name}, {options.layers} layers in each bottleneck")


if __name__ == "__main__":
    main()
