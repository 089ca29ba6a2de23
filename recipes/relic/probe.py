"""What a feature network knows without having been told: `python -m recipes.relic.probe SONGS INSTRUMENTS NAME=ENCODER ...`.

A linear classifier on frozen embeddings of 0.7 s clips names the stem (SONGS: folders of stems, trained on `train`, tested on `valid`)
and the instrument (INSTRUMENTS: what recipes.relic.instruments makes). ENCODER: `vgg11`, `vgg19` or `strided` with random weights, a
.ckpt of recipes.relic.pretrain, safetensors of a VGG-19 (or `imagenet`), or a separator's folder. Prints accuracy, mean over classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from separate.augment.waveform import level
from separate.data.mixer import QUIET
from separate.data.stems import find_songs
from separate.errors import ModelError, SeparateError
from separate.frontend import FrontEnd, FrontEndConfig
from separate.models.config import PRESETS
from separate.models.mmdensenet import MMDenseNet
from separate.models.vgg import NAMES
from separate.pretrained import load, read_card
from separate.tasks.features import load_vgg
from separate.tasks.relic import BottleneckEncoder, VGGEncoder, encoder_weights

RATE, SAMPLES = 44100, 31744
CLIPS = 200  # a class and split at most
LAST = "relu3_1"
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
STEMS = ("vocals", "drums", "bass", "other")
Clips = tuple[Tensor, Tensor, list[str]]  # waves [clips, 2, samples], classes [clips], each clip's song


def encoder(name: str) -> nn.Module:
    """An encoder by its name or file, see above. Raises ModelError where there is none of that name, or none that is known in the file."""
    torch.manual_seed(0)
    if name in NAMES or name in PRESETS:
        return drawn(name)
    if (Path(name) / "card.json").exists():
        return BottleneckEncoder(load(Path(name), read_card(Path(name))))
    if name.endswith(".ckpt"):
        return pre_trained(Path(name))
    vgg = VGGEncoder("vgg19", LAST)
    vgg.features.load_state_dict(load_vgg("vgg19", (LAST,), name).layers.state_dict())
    return vgg


def drawn(name: str) -> nn.Module:
    """A VGG up to LAST, or a separator's preset, with random weights."""
    return VGGEncoder(name, LAST) if name in NAMES else BottleneckEncoder(MMDenseNet(PRESETS[name]))


def pre_trained(checkpoint: Path) -> nn.Module:
    """The encoder in a checkpoint of RelicTask, recognised by the names and shapes of its tensors."""
    weights = encoder_weights(checkpoint)
    for name in (*NAMES, *PRESETS):  # up to LAST, vgg13, vgg16 and vgg19 are the same network
        made = drawn(name)
        if shapes(made.state_dict()) == shapes(weights):
            made.load_state_dict(weights)
            return made
    raise ModelError(f"{checkpoint}: its encoder is none of {', '.join(NAMES)} (up to {LAST}), {', '.join(PRESETS)}")


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """By name."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def collect(found: Iterator[tuple[int, str, np.ndarray]], classes: int, seed: int) -> Clips:
    """At most CLIPS clips a class, drawn from all that sound, songs mixed."""
    rng = np.random.default_rng(seed)
    pools: list[list[tuple[str, np.ndarray]]] = [[] for _ in range(classes)]
    for number, song, wave in found:
        if level(wave) > QUIET:
            pools[number].append((song, wave))
    rows = [(number, *pool[i]) for number, pool in enumerate(pools) for i in rng.permutation(len(pool))[:CLIPS]]
    waves = torch.from_numpy(np.stack([wave.T for _, _, wave in rows]))
    return waves, torch.tensor([number for number, _, _ in rows]), [song for _, song, _ in rows]


def stem_clips(root: Path, apart: int) -> Iterator[tuple[int, str, np.ndarray]]:
    """Clips of every song's stems, every `apart`-th of those that fit side by side."""
    for song in find_songs(root, RATE):
        for number, stem in enumerate(STEMS):
            if stem in song.files and (song.name, stem) not in (("potassium", "bass"), ("potassium", "other")):  # not to be trusted
                for start in range(0, song.samples - SAMPLES, apart * SAMPLES):
                    yield number, f"{song.source}/{song.name}", song.read(stem, start, SAMPLES)


def instrument_clips(root: Path, families: list[str]) -> Iterator[tuple[int, str, np.ndarray]]:
    """Clips of every rendering, every sixth of those that fit side by side."""
    for number, family in enumerate(families):
        for path in sorted((root / family).glob("*.flac")):
            wave, _ = soundfile.read(path, dtype="float32", always_2d=True)
            for start in range(0, len(wave) - SAMPLES, 6 * SAMPLES):
                yield number, path.stem, wave[start : start + SAMPLES]


def window(network: nn.Module) -> FrontEndConfig:
    """The front-end of a separator's encoder, by its number of bins and with half overlap; a VGG gets the usual one."""
    if isinstance(network, BottleneckEncoder):
        half = network.network.config.bins - 1
        return FrontEndConfig(2 * half, half)
    return FrontEndConfig()


@torch.no_grad()
def embed(network: nn.Module, waves: Tensor) -> Tensor:
    """[clips, size], batch norms in eval mode; a network without input statistics takes them from the first clips."""
    network, front_end = network.eval(), FrontEnd(window(network))
    if isinstance(network, BottleneckEncoder) and bool((network.network.input_scale == 1).all()):
        network.network.standardise(front_end.stft(waves[:: max(1, len(waves) // 64)]).abs())
    return torch.cat([network(front_end.stft(batch).abs()) for batch in waves.split(16)])


def fit(x: Tensor, y: Tensor, decay: float) -> nn.Linear:
    """Multinomial logistic regression, every class counting the same."""
    layer = nn.Linear(x.shape[1], int(y.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    weight = 1 / y.bincount().float()
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(layer(x), y, weight) + decay * layer.weight.square().sum()
        loss.backward()
        return float(loss)

    optimizer.step(closure)
    return layer


@torch.no_grad()
def accuracy(layer: nn.Linear, x: Tensor, y: Tensor) -> float:
    """Mean over classes of the share that is named right."""
    right = (layer(x).argmax(1) == y).float()
    return float(torch.stack([right[y == number].mean() for number in y.unique()]).mean())


def probe(network: nn.Module, train: Clips, test: Clips) -> float:
    """Accuracy on `test`; the decay is chosen on a fifth of the training songs."""
    x, other = embed(network, train[0]), embed(network, test[0])
    mean, spread = x.mean(0), x.std(0).clamp(min=1e-6)
    x, other, y = (x - mean) / spread, (other - mean) / spread, train[1]
    aside = torch.tensor([sorted(set(train[2])).index(song) % 5 == 0 for song in train[2]])
    best = max(DECAYS, key=lambda decay: accuracy(fit(x[~aside], y[~aside], decay), x[aside], y[aside]))
    return accuracy(fit(x, y, best), other, test[1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.relic.probe", description=__doc__)
    parser.add_argument("songs", type=Path)
    parser.add_argument("instruments", type=Path)
    parser.add_argument("encoders", nargs="+", metavar="NAME=ENCODER")
    options = parser.parse_args()
    try:
        networks = [(name, encoder(source)) for name, _, source in (entry.partition("=") for entry in options.encoders)]
    except SeparateError as error:
        parser.error(str(error))
    families = sorted(path.name for path in (options.instruments / "train").iterdir())
    sets = {
        "stem": [collect(stem_clips(options.songs / split, apart), len(STEMS), 0) for split, apart in (("train", 5), ("valid", 1))],
        "instrument": [collect(instrument_clips(options.instruments / split, families), len(families), 0) for split in ("train", "test")],
    }
    for name, (train, test) in sets.items():
        print(f"{name}: {len(train[1])} clips to train on, {len(test[1])} of other songs to test on, {int(train[1].max()) + 1} classes")
    print("\n| encoder | stem | instrument |\n|---|---|---|")
    for name, network in networks:
        print(f"| {name} | " + " | ".join(f"{probe(network, train, test):.1%}" for train, test in sets.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
