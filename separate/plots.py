"""Pictures: spectrograms, and box plots of scores. Needs matplotlib (extra `train`); draws to files, opens no window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

FLOOR_DB = -70.0


def spectrograms(waves: Mapping[str, torch.Tensor], rate: int, path: Path, top: float = 10000.0) -> None:
    """One spectrogram a wave ([channels, samples], mixed to mono), one below the other, dB under the loudest of all; up to `top` Hz."""
    from separate.frontend import FrontEnd

    figure = _figure(9, 2.2 * len(waves) + 0.5)
    front_end = FrontEnd()
    pictures = {name: 20 * front_end.stft(wave.mean(0)).abs().clamp(min=1e-9).log10() for name, wave in waves.items()}
    loudest = max(float(picture.max()) for picture in pictures.values())
    axes = figure.subplots(len(waves), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        extent = (0, picture.shape[1] * front_end.config.hop_length / rate, 0, rate / 2000)
        shown = axis.imshow(picture - loudest, origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB, vmax=0, cmap="magma")
        axis.set(ylim=(0, top / 1000), ylabel="kHz")
        axis.set_title(name, loc="left", fontsize=10)
    axes[-1].set_xlabel("seconds")
    figure.colorbar(shown, ax=axes, label="dB", fraction=0.03, pad=0.01)
    figure.savefig(path, dpi=110)


def pictures(panels: Mapping[str, NDArray], path: Path) -> None:
    """Matrices [rows, columns] under their names, one below the other, row 0 at the bottom, each in its own range of values."""
    figure = _figure(9, 1.9 * len(panels) + 0.3)
    for axis, (name, panel) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True):
        axis.imshow(panel, origin="lower", aspect="auto", cmap="magma", interpolation="nearest")
        axis.set_title(name, loc="left", fontsize=10)
        axis.set_axis_off()
    figure.savefig(path, dpi=90)


def score_boxes(scores: Mapping[str, Sequence[float]], title: str, path: Path) -> None:
    """A box a name over its tracks' scores in dB, with every track as a dot; NaN is left out."""
    figure = _figure(1.5 + 1.2 * len(scores), 4)
    axis = figure.subplots()
    kept = {name: [value for value in values if np.isfinite(value)] for name, values in scores.items()}
    if kept:
        axis.boxplot(list(kept.values()), tick_labels=list(kept), showfliers=False)
    for place, values in enumerate(kept.values(), 1):
        axis.plot([place] * len(values), values, "o", color="tab:blue", alpha=0.5, markersize=4)
    axis.set(ylabel="dB", title=title)
    axis.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=110)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
