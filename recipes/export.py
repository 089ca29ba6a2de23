"""Turns a training checkpoint into a model folder: `python -m recipes.export CHECKPOINT CONFIG CARD OUT`.

CONFIG: the recipe the checkpoint was trained with. CARD: JSON with name, description, licence, sources, training and scores;
stems, rate, front-end, architecture and sha256 are filled in here. OUT gets model.safetensors (the averaged weights) and card.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import yaml
from safetensors.torch import save_file

from recipes.train import RecipeCLI
from separate.data.module import StemsData
from separate.errors import ModelError, SeparateError
from separate.frontend import FrontEndConfig
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import Card, load, read_card
from separate.tasks.separation import SeparationTask

NEEDED = ("name", "description", "licence")
NOTES = (*NEEDED, "sources", "training", "scores")  # what a card has for people


def export(checkpoint: Path, task: SeparationTask, rate: int, notes: dict[str, object], out: Path) -> Card:
    """Write OUT from a Lightning checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "network."
    task.network.load_state_dict({name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)})
    return write_model(task.network, task.targets, rate, task.front_end.config, notes, out)


def write_model(
    network: MMDenseNet, stems: tuple[str, ...], rate: int, front_end: FrontEndConfig, notes: dict[str, object], out: Path
) -> Card:
    """Write a model's folder, once it could be loaded as inference will. notes: name, description, licence, and what else is for people.

    Raises ModelError where a card cannot be made of the notes; a model that was there is then as it was.
    """
    if wrong := [f"lacks {key!r}" for key in NEEDED if key not in notes] + [f"may not have {key!r}" for key in notes if key not in NOTES]:
        raise ModelError(f"{out}: not written, its card {', '.join(wrong)}")
    weights = {name: value.contiguous() for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".unfinished") as place:
        unfinished = Path(place)
        save_file(weights, unfinished / "model.safetensors")
        (unfinished / "model.safetensors").chmod(0o644)
        card = Card(
            **notes,  # type: ignore[arg-type]
            stems=stems,
            rate=rate,
            front_end=front_end,
            network=network.config,
            sha256=hashlib.sha256((unfinished / "model.safetensors").read_bytes()).hexdigest(),
        )
        card.write(unfinished)
        load(unfinished, read_card(unfinished))
        for name in ("model.safetensors", "card.json"):
            (unfinished / name).replace(out / name)
    return card


def read_notes(path: Path) -> dict[str, object]:
    """What is for people on a card to be. Raises ModelError if the file holds none, OSError if it cannot be read."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: is not JSON ({error})") from error
    if not isinstance(notes, dict):
        raise ModelError(f"{path}: is not a JSON object of {', '.join(NEEDED)} and the like")
    return notes


def notes_of(card: Card) -> dict[str, object]:
    """What a model made from another's weights takes over from its card: all that is for people, but no scores."""
    return {**{name: getattr(card, name) for name in NOTES}, "scores": []}


def read_recipe(config: Path, **data: object) -> RecipeCLI:
    """The task, untrained, and the data of a run's config.yaml; data: settings of StemsData that replace its. Raises ModelError."""
    recipe = yaml.safe_load(config.read_text())
    if not isinstance(recipe, dict) or not {"model", "data"} <= recipe.keys():
        raise ModelError(f"{config}: is not the config.yaml of a run, with model and data")
    model = {key: value for key, value in recipe["model"].items() if key not in ("loss", "initial_model", "initial_encoder", "regulariser")}
    settings = {"model": model, "data": {**recipe["data"], "init_args": {**recipe["data"]["init_args"], **data}}}
    return RecipeCLI(SeparationTask, StemsData, subclass_mode_data=True, args=settings, run=False, save_config_callback=None)


def export_run(checkpoint: Path, config: Path, notes: dict[str, object], out: Path) -> Card:
    """As `export`, with network, front-end, targets and rate from the recipe that the checkpoint was trained with."""
    recipe = read_recipe(config, root="unused")
    return export(checkpoint, recipe.model, recipe.datamodule.rate, notes, out)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.export", description=__doc__)
    for name in ("checkpoint", "config", "card", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    try:
        card = export_run(options.checkpoint, options.config, read_notes(options.card), options.out)
    except (SeparateError, OSError) as error:
        parser.error(str(error))
    print(f"{options.out}: {card.name}, {', '.join(card.stems)}")


if __name__ == "__main__":
    main()
