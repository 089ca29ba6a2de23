from pathlib import Path

import numpy as np
import pytest

from benchmarks import robustness
from benchmarks.corruptions import CORRUPTIONS
from separate.scoring import global_sdr
from tests.conftest import RATE, sound
from tests.songs import made_up_song


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_keep_place_and_length_and_get_worse(name: str) -> None:
    mixture, vocals = (0.5 * np.ascontiguousarray(sound(2, seed=seed).T) for seed in (0, 1))
    damage = []
    for corrupt in CORRUPTIONS[name].values():
        damaged, wanted = corrupt(mixture, vocals)
        assert damaged.shape == mixture.shape and wanted.shape == vocals.shape
        assert damaged.dtype == np.float32 and np.isfinite(damaged).all()
        scale = float((damaged * mixture).sum() / np.square(mixture).sum())
        damage.append(global_sdr(mixture, damaged if name.startswith("gain") else damaged / scale))
        noise = np.random.default_rng(5).normal(0, 0.1, (2, RATE)).astype(np.float32)
        spectra = np.fft.rfft(noise[0]), np.fft.rfft(corrupt(noise, noise)[0][0])
        assert np.fft.irfft(spectra[1] * spectra[0].conj()).argmax() == 0  # not shifted
    assert damage[0] > damage[1] > damage[2] or name.startswith("tilt")


def test_linear_corruptions_keep_the_sum() -> None:
    mixture, vocals = (0.5 * np.ascontiguousarray(sound(1, seed=seed).T) for seed in (0, 1))
    for name in set(CORRUPTIONS) - {"mp3, kbit/s", "noise, dB SNR", "clipping, share"}:
        for corrupt in CORRUPTIONS[name].values():
            whole, part = corrupt(mixture, vocals)
            rest, _ = corrupt(mixture - vocals, vocals)
            np.testing.assert_allclose(whole, part + rest, atol=1e-4)


def test_a_model_and_a_peer_are_measured_side_by_side(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_song(tmp_path / "songs" / "album" / "song", 2.0, seed=1)
    few = {"gain, dB": CORRUPTIONS["gain, dB"], "noise, dB SNR": CORRUPTIONS["noise, dB SNR"]}
    monkeypatch.setattr(robustness, "CORRUPTIONS", few)
    found = {name: robustness.scores(name, tmp_path / "songs", 1.0) for name in (str(model), "mixture")}
    assert all(set(each) == {"clean", *few} and len(each["gain, dB"]) == 3 for each in found.values())
    assert found["mixture"]["gain, dB"] == pytest.approx([found["mixture"]["clean"][0]] * 3, abs=0.01)  # its vocals are as much quieter
    assert found["mixture"]["noise, dB SNR"][2] < found["mixture"]["clean"][0]
    monkeypatch.undo()
    full = {name: {"clean": each["clean"], **{key: [1.0, 0.5, 0.0] for key in CORRUPTIONS}} for name, each in found.items()}
    robustness.picture(full, tmp_path / "drop.png")
    assert (tmp_path / "drop.png").stat().st_size > 10000
