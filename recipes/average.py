"""Averages the weights of models that grew out of one another: `python -m recipes.average MODEL MODEL ... OUT`.

What was learned from other songs is kept beside what was learned last (Wortsman et al. 2022, "Robust fine-tuning"). Naming a model twice
makes it weigh twice. The card is the last model's, without its scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from recipes.export import notes_of, write_model
from separate.errors import ModelError, SeparateError
from separate.pretrained import Card, load, read_card


def average(models: list[Path], out: Path) -> Card:
    """Write OUT. Raises ModelError if it holds a model, or a folder none, or one with another network, front-end or stems."""
    if (out / "card.json").exists():
        raise ModelError(f"{out}: holds a model already; the last argument is the folder for a new one")
    cards = [read_card(model) for model in models]
    card = cards[-1]
    for model, other in zip(models, cards, strict=True):
        if (other.network, other.front_end, other.stems) != (card.network, card.front_end, card.stems):
            raise ModelError(f"{model}: its network, front-end or stems are not those of {models[-1]}")
    networks = [load(model, other) for model, other in zip(models, cards, strict=True)]
    states = [network.state_dict() for network in networks]
    floats = [name for name, tensor in states[-1].items() if tensor.is_floating_point()]
    networks[-1].load_state_dict({**states[-1], **{name: torch.stack([state[name] for state in states]).mean(0) for name in floats}})
    return write_model(networks[-1], card.stems, card.rate, card.front_end, notes_of(card), out)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.average", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    if len(options.models) < 2:
        parser.error("give at least two models, then the folder for a new one")
    try:
        average(options.models, options.out)
    except (SeparateError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
