import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from recipes import score
from separate.scoring import global_sdr, museval_scores, si_sdr, summarise
from tests.conftest import RATE, sound
from tests.songs import excerpt, made_up_song


def test_global_sdr_by_hand() -> None:
    reference = sound(1)
    assert global_sdr(reference, 0.9 * reference) == pytest.approx(20.0, abs=1e-4)
    assert global_sdr(reference, np.zeros_like(reference)) == pytest.approx(0.0)
    assert np.isnan(global_sdr(np.zeros_like(reference), reference))


def test_si_sdr_agrees_with_torchmetrics_and_ignores_the_gain() -> None:
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    reference, estimate = sound(1, 1), sound(1, 1) + 0.3 * sound(1, 1, seed=3)
    theirs = float(scale_invariant_signal_distortion_ratio(torch.from_numpy(estimate.T).double(), torch.from_numpy(reference.T).double()))
    assert si_sdr(reference, estimate) == pytest.approx(theirs, abs=1e-4)
    assert si_sdr(reference, 5 * estimate) == pytest.approx(theirs, abs=1e-4)


def test_museval_figures_are_musevals_own(tmp_path: Path) -> None:
    import museval

    song = excerpt()
    references = {"vocals": song["vocals"], "accompaniment": song["drums"] + song["bass"] + song["other"]}
    estimates = {"vocals": 0.7 * song["mixture"], "accompaniment": 0.3 * song["mixture"]}
    store = museval_scores("excerpt", references, estimates, RATE)
    direct = museval.evaluate(list(references.values()), list(estimates.values()), win=RATE, hop=RATE)
    rows = {(row["stem"], row["protocol"]): row["score"] for row in summarise(store, references, estimates)}
    for metric, values in zip(("SDR", "ISR", "SIR", "SAR"), direct, strict=True):
        for stem, frames in zip(references, values, strict=True):
            assert rows[stem, f"museval {metric}"] == pytest.approx(np.nanmedian(frames), abs=1e-5)  # museval stores five digits
    assert rows["vocals", "global SDR"] == pytest.approx(global_sdr(song["vocals"], 0.7 * song["mixture"]))


def test_one_stem_is_not_enough_for_museval() -> None:
    with pytest.raises(ValueError, match="two stems"):
        museval_scores("x", {"vocals": sound(1)}, {"vocals": sound(1)}, RATE)


def test_scoring_a_folder_writes_what_museval_reads_and_resumes(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import museval

    made_up_song(tmp_path / "songs" / "one", 2.0)
    made_up_song(tmp_path / "songs" / "two", 2.0, seed=1)
    score.main([str(tmp_path / "songs"), str(tmp_path / "out"), "--model", str(model)])
    table = capsys.readouterr().out
    store = museval.EvalStore()
    store.add_eval_dir(str(tmp_path / "out" / "museval"))
    frames = store.agg_frames_tracks_scores()
    line = next(line for line in table.splitlines() if line.startswith("vocals") and "museval SDR" in line)
    assert float(line.split()[-3]) == pytest.approx(frames["vocals", "SDR"], abs=1e-3)
    assert (tmp_path / "out" / "scores.png").stat().st_size > 1000
    stored = tmp_path / "out" / "rows" / "one.json"
    rows = json.loads(stored.read_text())
    rows[0]["score"] = 77.0
    stored.write_text(json.dumps(rows))
    score.main([str(tmp_path / "songs"), str(tmp_path / "out"), "--model", str(model)])
    assert "77.0" in (tmp_path / "out" / "scores.csv").read_text()


def test_estimates_of_another_tool_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_up_song(tmp_path / "songs" / "one", 2.0)
    stems = {path.stem: soundfile.read(path)[0] for path in folder.glob("*.wav")}
    (tmp_path / "estimates" / "one").mkdir(parents=True)
    soundfile.write(tmp_path / "estimates" / "one" / "vocals.wav", 0.9 * stems["vocals"][:-100], RATE, subtype="FLOAT")
    rest = sum(stems[name] for name in ("drums", "bass", "other"))
    soundfile.write(tmp_path / "estimates" / "one" / "accompaniment.wav", 0.9 * rest, RATE, subtype="FLOAT")
    score.main([str(tmp_path / "songs"), str(tmp_path / "out"), "--estimates", str(tmp_path / "estimates")])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("accompaniment") and "global SDR" in line)
    assert float(line.split()[-3]) == pytest.approx(20.0, abs=0.01)
