"""How good is an estimate: museval's BSSEval v4, global SDR and SI-SDR, every figure under its protocol's name.

museval itself computes the BSSEval figures; nothing of it is written again here. A stem that is silent in a frame has no score there, and
one that is silent throughout has none at all: museval leaves such frames out of the median, and so do the global figures (NaN).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from museval import TrackStore

Wave = NDArray[np.floating]
PROTOCOLS = {
    **{f"museval {name}": f"BSSEval v4 {name}, 1 s windows, median of frames" for name in ("SDR", "SIR", "SAR", "ISR")},
    "global SDR": "10 log10 of the reference's energy over the error's, whole track",
    "SI-SDR": "scale-invariant SDR, whole track (Le Roux et al. 2019)",
}


def global_sdr(reference: Wave, estimate: Wave) -> float:
    """10 log10(|s|^2 / |s - e|^2) in dB over all samples and channels; NaN for a silent reference, inf for an exact estimate."""
    error = np.subtract(reference, estimate, dtype=np.float64)
    return _ratio(float(np.square(reference, dtype=np.float64).sum()), float(np.square(error).sum()))


def si_sdr(reference: Wave, estimate: Wave) -> float:
    """Scale-invariant SDR in dB (Le Roux et al. 2019): the reference is scaled to fit the estimate best; channels as one signal."""
    flat, guess = np.ravel(reference).astype(np.float64), np.ravel(estimate).astype(np.float64)
    energy = float(flat @ flat)
    target = flat * (float(flat @ guess) / energy) if energy else flat
    return _ratio(float(target @ target) if energy else 0.0, float(np.square(target - guess).sum()))


def _ratio(signal: float, error: float) -> float:
    if signal == 0:
        return float("nan")
    return float("inf") if error == 0 else float(10 * np.log10(signal / error))


@dataclass(frozen=True)
class _Audio:
    audio: Wave


@dataclass(frozen=True)
class _Track:
    """What museval.eval_mus_track wants to see of a musdb track."""

    name: str
    rate: int
    targets: dict[str, _Audio]
    subset: str = "test"


def museval_scores(name: str, references: Mapping[str, Wave], estimates: Mapping[str, Wave], rate: int) -> TrackStore:
    """museval's own scores of one track, as `museval.eval_mus_track` gives them: waves are [samples, channels], keys are stems.

    As there, vocals and accompaniment are scored as a pair of their own where both are given; at least two stems must be.
    """
    import museval

    if len(set(references) & set(estimates)) < 2:
        raise ValueError("museval needs at least two stems: give vocals and accompaniment")
    order = [stem for stem in ("vocals", "accompaniment", "drums", "bass", "other") if stem in references]
    track = _Track(name, rate, {stem: _Audio(references[stem]) for stem in [*order, *sorted(set(references) - set(order))]})
    return museval.eval_mus_track(track, dict(estimates), win=1.0, hop=1.0)


def summarise(store: TrackStore, references: Mapping[str, Wave], estimates: Mapping[str, Wave]) -> list[dict[str, str | float]]:
    """One row a stem and protocol: track, stem, protocol, score in dB."""
    rows: list[dict[str, str | float]] = []
    for target in store.scores["targets"]:
        for metric in ("SDR", "SIR", "SAR", "ISR"):
            frames = np.array([float(frame["metrics"][metric]) for frame in target["frames"]])
            score = float(np.nanmedian(frames)) if np.isfinite(frames).any() else float("nan")
            rows.append({"track": store.track_name, "stem": target["name"], "protocol": f"museval {metric}", "score": score})
    for stem in references.keys() & estimates.keys():
        for protocol, score in (
            ("global SDR", global_sdr(references[stem], estimates[stem])),
            ("SI-SDR", si_sdr(references[stem], estimates[stem])),
        ):
            rows.append({"track": store.track_name, "stem": stem, "protocol": protocol, "score": score})
    return sorted(rows, key=lambda row: (str(row["stem"]), list(PROTOCOLS).index(str(row["protocol"]))))
