"""Carries a model over to a window twice as long: `python -m recipes.opencorpus.lengthen MODEL OUT`. OUT is a start for training.

Rows of the network stand for the same frequencies before and after: first convolutions and the head reach over twice as many bins, each of
their weights doing for two neighbours; frames are twice as far apart, which training has to make good. It also takes new input statistics.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from recipes.export import write_model
from separate.errors import ModelError
from separate.frontend import FrontEndConfig
from separate.models.mmdensenet import MMDenseNet, MMDenseNetConfig, PathConfig
from separate.pretrained import Card, load, read_card


def lengthen(model: Path, out: Path) -> Card:
    """Write OUT from a model's folder. Raises ModelError if the folder holds none, or one with less than two bins a row."""
    card = read_card(model)
    old = load(model, card)
    if card.network.join_stride < 2:
        raise ModelError(f"{model}: a row of its network is one bin; only several can stand for twice as many")
    window = FrontEndConfig(2 * card.front_end.n_fft, 2 * card.front_end.hop_length)
    network = MMDenseNet(_doubled(card.network))
    fresh = {"input_mean": network.input_mean, "input_scale": network.input_scale}
    network.load_state_dict({**{name: _stretched(name, tensor) for name, tensor in old.state_dict().items()}, **fresh})
    notes = {name: getattr(card, name) for name in ("name", "description", "licence", "sources", "training")}
    return write_model(network, card.stems, card.rate, window, {**notes, "scores": []}, out)


def _doubled(config: MMDenseNetConfig) -> MMDenseNetConfig:
    bins = 2 * config.bins - 1  # 0 and the highest frequency belong to both

    def path(old: PathConfig) -> PathConfig:
        bins_wide, frames = old.stem_kernel
        stop = bins if old.stop == config.bins else 2 * old.stop
        return replace(old, start=2 * old.start, stop=stop, stem_kernel=(2 * bins_wide, frames), stem_stride=2 * old.stem_stride)

    return replace(config, bands=tuple(path(band) for band in config.bands), full=path(config.full))


def _stretched(name: str, tensor: Tensor) -> Tensor:
    """First convolutions sum over twice as many bins, so with half the weight; the head hands each row to twice as many."""
    if name.endswith("stem.0.weight"):
        return tensor.repeat_interleave(2, dim=2) / 2
    return tensor.repeat_interleave(2, dim=2) if name == "head.weight" else tensor


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
