"""What the feature loss costs: `python -m benchmarks.feature_loss`. Milliseconds a training step, and ratios to L2 alone.

Weights are random: they cost what real ones cost. Settings of the recipes: batches of 8 x 128 frames, the `strided` and `paper` networks.
"""

from __future__ import annotations

import torch

from benchmarks.processes import alone, best_seconds, machine
from separate.frontend import FrontEnd
from separate.losses.feature import FeatureLoss, PictureConfig
from separate.models.mmdensenet import PRESETS, MMDenseNet
from separate.models.vgg import VGGFeatures

THREADS = 2
SETTINGS: dict[str, tuple[tuple[str, ...], PictureConfig, tuple[float, float, float]]] = {
    "L2 alone": (("relu1_1",), PictureConfig(), (1.0, 0.0, 0.0)),
    "+ feature, relu2_2": (("relu1_2", "relu2_2"), PictureConfig(), (0.5, 0.25, 0.0)),
    "+ feature + style, relu2_2": (("relu1_2", "relu2_2"), PictureConfig(), (0.5, 0.25, 0.25)),
    "the same, pooled 2 x 2": (("relu1_2", "relu2_2"), PictureConfig(pool=(2, 2)), (0.5, 0.25, 0.25)),
    "the same, pooled 4 x 2": (("relu1_2", "relu2_2"), PictureConfig(pool=(4, 2)), (0.5, 0.25, 0.25)),
    "relu3_1, pooled 4 x 2": (("relu2_2", "relu3_1"), PictureConfig(pool=(4, 2)), (0.5, 0.25, 0.25)),
    "stereo, pooled 4 x 2": (("relu1_2", "relu2_2"), PictureConfig(pool=(4, 2), channels="stereo"), (0.5, 0.25, 0.25)),
}


def step_seconds(preset: str, setting: str) -> float:
    """One training step, forward, backward and update."""
    torch.set_num_threads(THREADS)
    taps, picture, weights = SETTINGS[setting]
    loss, network, front_end = FeatureLoss(VGGFeatures(taps=taps), weights, picture), MMDenseNet(PRESETS[preset]), FrontEnd()
    optimizer = torch.optim.AdamW(network.parameters())
    target, rest = torch.randn(2, 8, 2, 127 * 1024, generator=torch.Generator().manual_seed(0)) * 0.1

    def step() -> None:
        mixture = front_end.stft(target + rest)
        terms = loss(network(mixture.abs()), front_end.stft(target)[:, None], mixture[:, None])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return best_seconds(step, 3)


def main() -> None:
    """The command line."""
    print(f"{machine()}, {THREADS} threads\n\n{'':<30}" + "".join(f"{preset + ' ms':>14}{'ratio':>8}" for preset in PRESETS))
    base: dict[str, float] = {}
    for setting in SETTINGS:
        cells = ""
        for preset in PRESETS:
            seconds, _ = alone(step_seconds, preset, setting)
            base.setdefault(preset, seconds)
            cells += f"{1000 * seconds:>14.0f}{seconds / base[preset]:>8.2f}"
        print(f"{setting:<30}{cells}", flush=True)


if __name__ == "__main__":
    main()
