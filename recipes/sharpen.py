"""Sharper masks, at no cost: `python -m recipes.sharpen MODEL CONFIG OUT [--mixes 400]`.

A loss on energies is governed by the mixes that are hard, where soft masks are best, and the mean of two passes is softer than either; a
mean of SDRs in dB counts all mixes alike. On mixes of the recipe CONFIG (a run's config.yaml), which no run trains on, this fits a factor
and a bias on every stem's logits to the mean SDR of two passes, and writes them into the weights of the last layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
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
from separate.tasks.separation import as_known

UNSEEN = 100_002  # an epoch that no run comes to
QUIET = 1e-3  # of a mixture's energy: stems below it are not counted
RATE = 0.03  # Adam's
EPSILON = 1e-6


class Sharpening(nn.Module):
    """A factor on every stem's logits, one over its temperature, whose logarithm is `sharpness`, and a bias: at first 1 and 0."""

    def __init__(self, stems: int) -> None:
        super().__init__()
        self.sharpness, self.bias = nn.Parameter(torch.zeros(stems)), nn.Parameter(torch.zeros(stems))

    def forward(self, masks: Tensor) -> Tensor:
        """Masks [stems, ...] -> the same, sharper."""
        factor, bias = (values.view(-1, *[1] * (masks.dim() - 1)) for values in (self.sharpness.exp(), self.bias))
        return torch.sigmoid(torch.logit(masks, EPSILON) * factor + bias)

    def write(self, network: MMDenseNet) -> None:
        """Into the weights and biases of the network's last layers."""
        factor, bias = (values.detach().repeat_interleave(network.config.channels) for values in (self.sharpness.exp(), self.bias))
        for name, values in network.named_parameters():
            *_, layer, kind = name.split(".")
            if layer == "head" and kind == "weight":
                values.data *= factor[:, None, None]
            elif layer == "head":
                values.data.mul_(factor).add_(bias)


def decibels(network: MMDenseNet, front_end: FrontEnd, sharpening: Sharpening, targets: tuple[str, ...], mix: Tensor) -> Tensor:
    """SDR of every stem of a mix [stems + 1, channels, samples] that is known and sounds."""
    stems, there = known(mix)
    mixture, truth = stems.sum(0), stems[:-1]
    samples, estimate = mixture.shape[-1], torch.zeros_like(truth)
    for number in range(PASSES):
        delay = number * front_end.config.hop_length // PASSES
        spectrum = front_end.stft(nn.functional.pad(mixture, (delay, 0)))
        with torch.no_grad():
            masks = network(spectrum.abs()[None])[0] / spectrum.abs().clamp(min=EPSILON)
        magnitudes = as_known((sharpening(masks) * spectrum.abs())[None], there[None, :-1], targets)[0]
        estimate = estimate + front_end.istft(with_phase(magnitudes, unit_phase(spectrum)), samples + delay)[..., delay:] / PASSES
    energy, error = (wave.square().sum((1, 2)) for wave in (truth, truth - estimate))
    sounds = energy > QUIET * mixture.square().sum()
    return 10 * torch.log10(energy[sounds] / error[sounds].clamp(min=EPSILON))


def fit(network: MMDenseNet, front_end: FrontEnd, targets: tuple[str, ...], mixes: Iterable[Tensor]) -> Sharpening:
    """Adam, a mix a step; the mean of what the second half of the steps came to."""
    sharpening = Sharpening(len(targets))
    optimizer = torch.optim.Adam(sharpening.parameters(), lr=RATE)
    way = []
    for mix in mixes:
        found = decibels(network, front_end, sharpening, targets, mix)
        if len(found):
            optimizer.zero_grad()
            (-found.mean()).backward()
            optimizer.step()
        way.append(torch.stack([sharpening.sharpness.detach(), sharpening.bias.detach()]).clone())
    with torch.no_grad():
        sharpening.sharpness[:], sharpening.bias[:] = torch.stack(way[len(way) // 2 :]).mean(0)
    return sharpening


def sharpen(model: Path, config: Path, mixes: int, out: Path) -> list[str]:
    """Write OUT; a line on every stem. Raises ModelError if OUT holds a model, or MODEL has no masks or other stems than the recipe."""
    if (out / "card.json").exists():
        raise ModelError(f"{out}: holds a model already; the last argument is the folder for a new one")
    card, data = read_card(model), read_recipe(config).datamodule
    if card.network.output != "mask" or card.stems != data.targets:
        raise ModelError(f"{model}: has no masks of the recipe's stems, {', '.join(data.targets)}, to be sharpened")
    network, front_end = load(model, card), FrontEnd(card.front_end)
    data.examples = mixes
    data.setup("fit")
    drawn = data.train_set(UNSEEN)
    sharpening = fit(network.folded(), front_end, card.stems, (drawn[number] for number in range(mixes)))
    sharpening.write(network)
    write_model(network, card.stems, card.rate, card.front_end, notes_of(card), out)
    values = zip(card.stems, sharpening.sharpness.exp().tolist(), sharpening.bias.tolist(), strict=True)
    return [f"{stem}: logits times {factor:.2f}, {bias:+.2f}" for stem, factor, bias in values]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.sharpen", description=__doc__)
    for name in ("model", "config", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--mixes", type=int, default=400)
    options = parser.parse_args(arguments)
    try:
        lines = sharpen(options.model, options.config, options.mixes, options.out)
    except (SeparateError, OSError) as error:
        parser.error(str(error))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
