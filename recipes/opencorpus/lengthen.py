"""Carries a model over to a window twice as long: `python -m recipes.opencorpus.lengthen MODEL OUT`. OUT is a start for training.

Rows of the network stand for the same frequencies before and after: first convolutions and the head reach over twice as many bins, each of
their weights doing for two neighbours; frames are twice as far apart, which training has to make good. It also takes new input statistics.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor

from recipes.export import notes_of, write_model
from separate.frontend import FrontEndConfig
from separate.models.config import lengthened
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import Card, load, read_card


def lengthen(model: Path, out: Path) -> Card:
    """Write OUT from a model's folder. Raises ModelError if the folder holds none."""
    card = read_card(model)
    old = load(model, card)
    window = FrontEndConfig(2 * card.front_end.n_fft, 2 * card.front_end.hop_length)
    network = MMDenseNet(lengthened(card.network))
    fresh = {"input_mean": network.input_mean, "input_scale": network.input_scale}
    network.load_state_dict({**{name: _stretched(name, tensor) for name, tensor in old.state_dict().items()}, **fresh})
    return write_model(network, card.stems, card.rate, window, notes_of(card), out)


def _stretched(name: str, tensor: Tensor) -> Tensor:
    """First convolutions sum over twice as many bins, so with half the weight; the head hands each row to twice as many."""
    if name.endswith("stem.0.weight"):
        return tensor.repeat_interleave(2, dim=2) / 2
    return tensor.repeat_interleave(2, dim=2) if name.endswith("head.weight") else tensor


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.opencorpus.lengthen", description=__doc__)
    for name in ("model", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    card = lengthen(options.model, options.out)
    print(f"{options.out}: {card.name}, n_fft {card.front_end.n_fft}")


if __name__ == "__main__":
    main()
