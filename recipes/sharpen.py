"""Sharper masks, at no cost: `python -m recipes.sharpen MODEL CONFIG OUT [--stems vocals ...] [--mixes 160]`.

A loss on energies is governed by the mixes that are hard, where soft masks are best, and the mean of two passes is softer than either; a
mean of SDRs in dB counts all mixes alike. On mixes of the recipe CONFIG (a run's config.yaml), which no run trains on, this looks for the
factor and the bias on every stem's logits that have the highest mean SDR in two passes, and puts them into the weights of the last layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.export import notes_of, read_recipe, write_model
from separate.data.mixer import known
from separate.errors import ModelError, SeparateError
from separate.frontend import FrontEnd, unit_phase, with_phase
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import load, read_card
from separate.separator import PASSES
from separate.streaming import delays

GRID = [(factor / 10, bias / 10) for factor in range(10, 16) for bias in range(-1, 4)]
AS_IT_IS = GRID.index((1.0, 0.0))
UNSEEN = 100_002  # an epoch that no run comes to
QUIET = 1e-3  # of a mixture's energy: stems below it are not counted
EPSILON = 1e-6


@torch.no_grad()
def decibels(network: MMDenseNet, front_end: FrontEnd, targets: Sequence[str], mix: Tensor) -> Tensor:
    """[grid, stems]: SDR of the stems of a mix [stems + 1, channels, samples]; NaN where one is not known by itself or hardly sounds."""
    stems, there = known(mix)
    mixture, truth = stems.sum(0), stems[:-1]
    samples, waves = mixture.shape[-1], torch.zeros(len(GRID), *truth.shape)
    for delay in delays(front_end.config.hop_length, PASSES):
        spectrum = front_end.stft(nn.functional.pad(mixture, (delay, 0)))
        level, phase = spectrum.abs(), unit_phase(spectrum)
        logits = torch.logit(network(level[None])[0] / level.clamp(min=EPSILON), EPSILON)
        for wave, (factor, bias) in zip(waves, GRID, strict=True):
            magnitudes = torch.sigmoid(logits * factor + bias) * level
            wave += front_end.istft(with_phase(magnitudes, phase), samples + delay)[..., delay:] / PASSES
    energy, error = truth.square().sum((1, 2)), (truth - waves).square().sum((2, 3))
    counted = there[:-1].flatten().bool() & (energy > QUIET * mixture.square().sum())
    if "other" in targets and not there.all():  # where it stands for several
        counted[targets.index("other")] = False
    return (10 * torch.log10(energy / error.clamp(min=EPSILON))).where(counted, torch.nan)


def fit(network: MMDenseNet, front_end: FrontEnd, targets: Sequence[str], mixes: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """([grid, stems], [stems]): the mean SDR over the mixes, and which place of the grid is best; AS_IT_IS for a stem that none counts."""
    means = torch.stack([decibels(network, front_end, targets, mix) for mix in mixes]).nanmean(0)
    return means, means.nan_to_num(-torch.inf).argmax(0).where(means.isfinite().any(0), AS_IT_IS)


def write(network: MMDenseNet, places: Tensor) -> None:
    """Every stem's factor and bias into the weights of the network's last layers."""
    factor, bias = torch.tensor(GRID)[places].repeat_interleave(network.config.channels, 0).unbind(1)
    for name, values in network.named_parameters():
        *_, layer, kind = name.split(".")
        if layer == "head" and kind == "weight":
            values.data *= factor[:, None, None]
        elif layer == "head":
            values.data.mul_(factor).add_(bias)


def sharpen(model: Path, config: Path, stems: Sequence[str] | None, mixes: int, out: Path) -> list[str]:
    """Write OUT; a line on every stem. Raises ModelError if OUT holds a model, or MODEL has no masks or other stems than the recipe."""
    if (out / "card.json").exists():
        raise ModelError(f"{out}: holds a model already; the last argument is the folder for a new one")
    card, data = read_card(model), read_recipe(config, examples=mixes).datamodule
    if card.network.output != "mask" or card.stems != data.targets:
        raise ModelError(f"{model}: has no masks of the recipe's stems, {', '.join(data.targets)}, to be sharpened")
    if unknown := set(stems or ()) - {*card.stems}:
        raise ModelError(f"{model}: has no stem {min(unknown)}")
    network, front_end = load(model, card), FrontEnd(card.front_end)
    data.setup("fit")
    drawn = data.train_set(UNSEEN)
    means, places = fit(network.folded(), front_end, card.stems, (drawn[number] for number in range(mixes)))
    for number, stem in enumerate(card.stems):
        if stems and stem not in stems:
            places[number] = AS_IT_IS
    write(network, places)
    write_model(network, card.stems, card.rate, card.front_end, notes_of(card), out)
    return [
        f"{stem}: logits times {GRID[place][0]}, {GRID[place][1]:+}: {means[AS_IT_IS, number]:.2f} dB -> {means[place, number]:.2f} dB"
        for number, (stem, place) in enumerate(zip(card.stems, places.tolist(), strict=True))
    ]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.sharpen", description=__doc__)
    for name in ("model", "config", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--stems", nargs="+", help="others stay as they are [default: all]")
    parser.add_argument("--mixes", type=int, default=160)
    options = parser.parse_args(arguments)
    try:
        lines = sharpen(options.model, options.config, options.stems, options.mixes, options.out)
    except (SeparateError, OSError) as error:
        parser.error(str(error))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
