"""What the feature loss costs: `python -m benchmarks.feature_loss`. Milliseconds a training step, and ratios to L2 alone.

Weights are random: they cost what real ones cost. Batches of 4 x 128 frames, the `strided` and `paper` networks, float32 and, where the
processor computes in it, bfloat16.
"""

from __future__ import annotations

import torch

from benchmarks.processes import alone, best_seconds, machine
from separate.frontend import FrontEnd
from separate.losses.feature import FeatureLoss, PictureConfig
from separate.models.config import PRESETS
from separate.models.mmdensenet import MMDenseNet
from separate.models.vgg import VGGFeatures
from separate.separator import has_bfloat16

THREADS = 2
BATCH = 4
NETWORKS = ("paper", "strided")  # both of the same window
TAPS = ("relu1_2", "relu2_2")
SETTINGS: dict[str, tuple[tuple[str, ...], PictureConfig, tuple[float, float, float]]] = {
    "L2 alone": (TAPS, PictureConfig(), (1.0, 0.0, 0.0)),
    "+ feature": (TAPS, PictureConfig(pool=(1, 1)), (0.5, 0.25, 0.0)),
    "+ feature + style": (TAPS, PictureConfig(pool=(1, 1)), (0.5, 0.25, 0.25)),
    "the same, pooled 2 x 1": (TAPS, PictureConfig(pool=(2, 1)), (0.5, 0.25, 0.25)),
    "the same, pooled 2 x 2": (TAPS, PictureConfig(pool=(2, 2)), (0.5, 0.25, 0.25)),
    "the same, pooled 4 x 2": (TAPS, PictureConfig(pool=(4, 2)), (0.5, 0.25, 0.25)),
    "lower half, pooled 2 x 2": (TAPS, PictureConfig(top=0.5, pool=(2, 2)), (0.5, 0.25, 0.25)),
    "and up to relu3_1": ((*TAPS, "relu3_1"), PictureConfig(top=0.5, pool=(2, 2)), (0.5, 0.25, 0.25)),
    "this without style": ((*TAPS, "relu3_1"), PictureConfig(top=0.5, pool=(2, 2)), (0.75, 0.25, 0.0)),
    "stereo, pooled 4 x 2": (TAPS, PictureConfig(pool=(4, 2), channels="stereo"), (0.5, 0.25, 0.25)),
}


def step_seconds(preset: str, setting: str, bfloat16: bool) -> float:
    """One training step, forward, backward and update."""
    torch.set_num_threads(THREADS)
    taps, picture, weights = SETTINGS[setting]
    loss, network, front_end = FeatureLoss(VGGFeatures(taps=taps), weights, picture), MMDenseNet(PRESETS[preset]), FrontEnd()
    optimizer = torch.optim.AdamW(network.parameters())
    target, rest = torch.randn(2, BATCH, 2, 127 * 1024, generator=torch.Generator().manual_seed(0)) * 0.1

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            mixture = front_end.stft(target + rest)
            terms = loss(network(mixture.abs()), front_end.stft(target)[:, None], mixture[:, None])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()

    return best_seconds(step, 3)


def main() -> None:
    """The command line."""
    columns = [(preset, False) for preset in NETWORKS]
    if has_bfloat16():
        columns += [(preset, True) for preset in NETWORKS]
    titles = "".join(f"{preset + (' bf16' if bfloat16 else ''):>14} ms{'ratio':>8}" for preset, bfloat16 in columns)
    print(f"{machine()}, {THREADS} threads\n\n{'':<26}{titles}")
    base: dict[tuple[str, bool], float] = {}
    for setting in SETTINGS:
        cells = ""
        for column in columns:
            seconds, _ = alone(step_seconds, column[0], setting, column[1])
            base.setdefault(column, seconds)
            cells += f"{1000 * seconds:>17.0f}{seconds / base[column]:>8.2f}"
        print(f"{setting:<26}{cells}", flush=True)


if __name__ == "__main__":
    main()
