"""How good is an estimate: museval's BSSEval v4, global SDR and SI-SDR, every figure under its protocol's name.

The BSSEval figures are those of museval, computed by separate.bsseval. A stem that is silent in a frame has no score there, nor has any
other stem scored with it; one that is silent throughout has none at all: such frames are left out of the median, as museval does. Of a
silent stem there are no global figures (NaN), of a silent estimate no SI-SDR.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from separate.bsseval import BLOCK, METRICS, Reader, bsseval
from separate.errors import AudioError

Wave = NDArray[np.floating]
Row = dict[str, str | float]
MUSEVAL = "0.4.1"  # the version that the figures agree with
PROTOCOLS = {
    **{f"museval {name}": f"BSSEval v4 {name}, 1 s windows, median of frames" for name in ("SDR", "SIR", "SAR", "ISR")},
    "global SDR": "10 log10 of the reference's energy over the error's, whole track",
    "SI-SDR": "scale-invariant SDR, whole track (Le Roux et al. 2019)",
}
ORDER = ("vocals", "accompaniment", "drums", "bass", "other")


class Energies:
    """What the global figures need of a reference and an estimate that arrive in blocks [samples, channels]."""

    def __init__(self) -> None:
        self.reference = self.error = self.product = 0.0
        self.reference_silent = self.estimate_silent = True

    def push(self, reference: Wave, estimate: Wave) -> None:
        """One more block of both."""
        flat = np.ravel(reference).astype(np.float64)
        error = np.ravel(estimate).astype(np.float64) - flat
        self.reference += float(flat @ flat)
        self.error += float(error @ error)
        self.product += float(flat @ error)
        self.reference_silent &= _silent(reference)
        self.estimate_silent &= _silent(estimate)

    def sdr(self) -> float:
        """10 log10(|s|^2 / |s - e|^2) in dB; NaN for a silent reference, inf for an exact estimate."""
        return _ratio(self.reference, self.error)

    def si_sdr(self) -> float:
        """As `sdr`, with the reference scaled to fit the estimate best; channels as one signal."""
        if self.reference == 0:
            return float("nan")
        # The best factor is 1 + product / reference. Said with the error, not the estimate, little is lost to rounding.
        scale = 1 + self.product / self.reference
        return _ratio(scale * scale * self.reference, max(0.0, self.error - self.product**2 / self.reference))


def global_sdr(reference: Wave, estimate: Wave) -> float:
    """10 log10(|s|^2 / |s - e|^2) in dB over all samples and channels; NaN for a silent reference, inf for an exact estimate."""
    energies = Energies()
    energies.push(reference, estimate)
    return energies.sdr()


def si_sdr(reference: Wave, estimate: Wave) -> float:
    """Scale-invariant SDR in dB (Le Roux et al. 2019): the reference is scaled to fit the estimate best; channels as one signal."""
    energies = Energies()
    energies.push(reference, estimate)
    return energies.si_sdr()


def _silent(wave: Wave) -> bool:
    """As museval has it: the channels' sum is zero."""
    return not np.any(wave if wave.ndim == 1 else wave.sum(1))


def _ratio(signal: float, error: float) -> float:
    if signal == 0:
        return float("nan")
    return float("inf") if error == 0 else float(10 * np.log10(signal / error))


@dataclass(frozen=True)
class TrackScores:
    """Scores of one track in dB. frames: by stem and museval's metric, a value a second; whole: by stem and protocol; silent: what is."""

    name: str
    frames: dict[str, dict[str, NDArray[np.float64]]]
    whole: dict[str, dict[str, float]]
    silent: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """One row a stem and protocol: track, stem, protocol, score in dB."""
        rows: list[Row] = []
        for stem in self.whole:
            medians = {f"museval {metric}": _median(self.frames[stem][metric]) for metric in METRICS}
            scores = {**medians, **self.whole[stem]}
            rows += [{"track": self.name, "stem": stem, "protocol": protocol, "score": scores[protocol]} for protocol in PROTOCOLS]
        return rows

    def museval_json(self) -> str:
        """What museval.TrackStore saves and museval.EvalStore reads, with all digits."""
        targets = []
        for stem, metrics in self.frames.items():
            seconds = zip(*(_finite(metrics[metric]) for metric in METRICS), strict=True)
            frames = [
                {"time": float(time), "duration": 1.0, "metrics": dict(zip(METRICS, map(float, values), strict=True))}
                for time, values in enumerate(seconds)
            ]
            targets.append({"name": stem, "frames": frames})
        return json.dumps({"targets": targets, "museval_version": MUSEVAL}, indent=2)


def _finite(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN for infinite scores, as museval stores them."""
    return np.where(np.isfinite(frames), frames, np.nan)


def _median(frames: NDArray[np.float64]) -> float:
    known = frames[np.isfinite(frames)]
    return float(np.median(known)) if len(known) else float("nan")


def held(wave: Wave) -> Reader:
    """A reader of a wave in memory, [samples, channels]."""
    return lambda start, count: wave[start : start + count]


def shared_stems(name: str, references: Collection[str], estimates: Collection[str]) -> list[str]:
    """What of a track can be scored, in museval's order. Raises AudioError where that is fewer than two stems."""
    both = set(references) & set(estimates)
    if len(both) < 2:
        raise AudioError(f"{name}: only {', '.join(both) or 'nothing'} to score; two stems are needed, such as vocals and accompaniment")
    return [*(stem for stem in ORDER if stem in both), *sorted(both - set(ORDER))]


def score_track(name: str, references: Mapping[str, Reader], estimates: Mapping[str, Reader], samples: int, rate: int) -> TrackScores:
    """Scores of the stems that both have. Raises AudioError where these are fewer than two, or samples are not finite.

    As in museval.eval_mus_track, vocals and accompaniment are scored as a pair of their own where both are given, the other stems beside
    the vocals without the accompaniment. A stem whose reference or estimate is silent throughout, which museval refuses, is left out of
    this; with fewer than two stems left there are no museval scores.
    """
    shared = shared_stems(name, references, estimates)
    energies = {stem: Energies() for stem in shared}
    for start in range(0, samples, BLOCK):
        count = min(BLOCK, samples - start)
        for stem in shared:
            reference, estimate = references[stem](start, count), estimates[stem](start, count)
            for what, wave in (("reference", reference), ("estimate", estimate)):
                if not np.isfinite(wave).all():
                    raise AudioError(f"{name}: the {what} of {stem} holds samples that are not numbers (NaN or infinite)")
            energies[stem].push(reference, estimate)
    silent = [f"the reference of {stem}" for stem in shared if energies[stem].reference_silent]
    silent += [f"the estimate of {stem}" for stem in shared if energies[stem].estimate_silent]
    frames = {stem: {metric: np.full(max(1, samples // rate), np.nan) for metric in METRICS} for stem in shared}
    pair = [stem for stem in shared if stem in ("vocals", "accompaniment")]
    sets = [[stem for stem in shared if stem != "accompaniment"], pair] if len(pair) == 2 else [shared]  # later figures count
    for together in sets:
        heard = [stem for stem in together if not energies[stem].reference_silent and not energies[stem].estimate_silent]
        if len(heard) > 1:
            found = bsseval([references[stem] for stem in heard], [estimates[stem] for stem in heard], samples, rate)
            for number, stem in enumerate(heard):
                frames[stem] = {metric: found[place, number] for place, metric in enumerate(METRICS)}
    whole = {stem: {"global SDR": each.sdr(), "SI-SDR": each.si_sdr()} for stem, each in energies.items()}
    return TrackScores(name, frames, whole, silent)
