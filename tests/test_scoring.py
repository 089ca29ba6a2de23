import json
from pathlib import Path

import museval
import numpy as np
import pytest
import torch

from separate import AudioError
from separate.scoring import PROTOCOLS, TrackScores, Wave, global_sdr, held, score_track, si_sdr
from tests.conftest import RATE, sound

STEMS = ("vocals", "drums", "bass", "other")
METRICS = ("SDR", "SIR", "SAR", "ISR")


def tracks(seconds: float = 2.0) -> tuple[dict[str, Wave], dict[str, Wave]]:
    """References of four stems and the accompaniment, and estimates with some of everything in them."""
    stems: dict[str, Wave] = {stem: sound(seconds, seed=number) for number, stem in enumerate(STEMS)}
    stems["accompaniment"] = np.sum([stems[stem] for stem in STEMS[1:]], axis=0)
    return stems, {stem: 0.9 * wave + 0.1 * sound(seconds, seed=9 + number) for number, (stem, wave) in enumerate(stems.items())}


def scored(references: dict[str, Wave], estimates: dict[str, Wave]) -> TrackScores:
    samples = len(next(iter(references.values())))
    readers = ({stem: held(wave) for stem, wave in waves.items()} for waves in (references, estimates))
    return score_track("song", *readers, samples, RATE)


def rows(scores: TrackScores) -> dict[tuple[str, str], float]:
    assert all(row["track"] == "song" for row in scores.rows())
    return {(str(row["stem"]), str(row["protocol"])): float(row["score"]) for row in scores.rows()}


def test_global_sdr_by_hand() -> None:
    reference = sound(1)
    assert global_sdr(reference, 0.9 * reference) == pytest.approx(20.0, abs=1e-4)
    assert global_sdr(reference, np.zeros_like(reference)) == pytest.approx(0.0)
    assert global_sdr(reference, reference) == np.inf
    assert np.isnan(global_sdr(np.zeros_like(reference), reference))


def test_si_sdr_agrees_with_torchmetrics_and_ignores_the_gain() -> None:
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    reference, estimate = sound(1, 1), sound(1, 1) + 0.3 * sound(1, 1, seed=3)
    theirs = float(scale_invariant_signal_distortion_ratio(torch.from_numpy(estimate.T).double(), torch.from_numpy(reference.T).double()))
    assert si_sdr(reference, estimate) == pytest.approx(theirs, abs=1e-4)
    assert si_sdr(reference, 5 * estimate) == pytest.approx(theirs, abs=1e-4)
    assert si_sdr(reference, -5 * estimate) == pytest.approx(theirs, abs=1e-4)
    assert np.isnan(si_sdr(np.zeros_like(reference), reference))


def test_a_track_is_scored_as_museval_scores_it() -> None:
    references, estimates = tracks()
    four, pair = list(STEMS), ["vocals", "accompaniment"]
    found = rows(scored(references, estimates))
    for names, counted in ((four, four[1:]), (pair, pair)):
        values = museval.evaluate([references[name] for name in names], [estimates[name] for name in names], win=RATE, hop=RATE)
        for metric, frames in zip(("SDR", "ISR", "SIR", "SAR"), values, strict=True):
            for name in counted:
                assert found[name, f"museval {metric}"] == pytest.approx(np.median(frames[names.index(name)]), abs=1e-6)
    assert found["drums", "global SDR"] == pytest.approx(global_sdr(references["drums"], estimates["drums"]))
    assert {protocol for _, protocol in found} == set(PROTOCOLS)


def test_the_json_is_what_museval_stores_and_reads(tmp_path: Path) -> None:
    class Audio:
        def __init__(self, audio: Wave) -> None:
            self.audio = audio

    class Track:
        name, rate, subset = "song", RATE, "test"

    references, estimates = ({stem: waves[stem] for stem in ("vocals", "accompaniment")} for waves in tracks())
    track = Track()
    track.targets = {stem: Audio(wave) for stem, wave in references.items()}  # type: ignore[attr-defined]
    theirs = museval.eval_mus_track(track, estimates)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "song.json").write_text(scored(references, estimates).museval_json())
    mine = json.loads((tmp_path / "test" / "song.json").read_text())
    theirs.scores = mine
    theirs.validate()  # against museval's schema
    store = museval.EvalStore()
    store.add_eval_dir(str(tmp_path))
    ours = store.agg_frames_tracks_scores()
    own = rows(scored(references, estimates))
    for stem in references:
        for metric in METRICS:
            assert ours[stem, metric] == pytest.approx(own[stem, f"museval {metric}"], abs=1e-9)
    again = museval.eval_mus_track(track, estimates).df
    np.testing.assert_allclose(store.df["score"], again["score"], atol=1e-5)  # it stores five digits
    assert list(store.df["time"]) == list(again["time"]) and list(store.df["target"]) == list(again["target"])


@pytest.mark.parametrize("which", ["reference", "estimate"])
def test_a_silent_stem_is_named_and_the_others_are_scored_without_it(which: str) -> None:
    references, estimates = tracks()
    (references if which == "reference" else estimates)["drums"] = np.zeros_like(references["drums"])
    scores = scored(references, estimates)
    found = rows(scores)
    assert scores.silent == [f"the {which} of drums"]
    assert all(np.isnan(found["drums", f"museval {metric}"]) for metric in METRICS)
    assert np.isnan(found["drums", "global SDR"]) == (which == "reference")
    heard = ["vocals", "bass", "other"]
    values = museval.evaluate([references[name] for name in heard], [estimates[name] for name in heard], win=RATE, hop=RATE)
    assert found["bass", "museval SIR"] == pytest.approx(np.median(values[2][1]), abs=1e-6)
    assert np.isfinite(found["vocals", "museval SDR"])


def test_vocals_that_are_silent_leave_the_accompaniment_its_global_figures_only() -> None:
    references, estimates = ({stem: waves[stem] for stem in ("vocals", "accompaniment")} for waves in tracks())
    references["vocals"] = np.zeros_like(references["vocals"])
    found = rows(scored(references, estimates))
    assert np.isnan(found["accompaniment", "museval SDR"])
    assert found["accompaniment", "global SDR"] == pytest.approx(global_sdr(references["accompaniment"], estimates["accompaniment"]))


def test_mono_vocals_are_scored() -> None:
    references, estimates = ({stem: waves[stem] for stem in ("vocals", "accompaniment")} for waves in tracks())
    for waves in (references, estimates):
        waves["vocals"] = waves["vocals"][:, [0, 0]]
    found = rows(scored(references, estimates))
    assert all(np.isfinite(score) for score in found.values())


def test_one_stem_is_not_enough() -> None:
    with pytest.raises(AudioError, match="only vocals to score; two stems are needed"):
        scored({"vocals": sound(1)}, {"vocals": sound(1)})


def test_samples_that_are_not_numbers_are_refused() -> None:
    references, estimates = tracks()
    estimates["bass"][1000, 1] = np.nan
    with pytest.raises(AudioError, match="the estimate of bass holds samples that are not numbers"):
        scored(references, estimates)
