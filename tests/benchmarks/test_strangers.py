from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import strangers
from separate.augment.waveform import level
from separate.errors import AudioError
from tests.songs import made_up_song


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for number in range(2):
        made_up_song(tmp_path / "valid" / "album" / f"voice{number}", 7.0, stems=("vocals",), seed=number)
        made_up_song(tmp_path / "train" / "bands" / f"band{number}", 7.0, stems=("drums", "other"), seed=2 + number)
    made_up_song(tmp_path / "train" / "games" / "tune", 7.0, stems=("accompaniment",), seed=5)
    made_up_song(tmp_path / "train" / "loops" / "loop", 7.0, stems=("drums",), seed=6)
    return tmp_path / "valid", tmp_path / "train"


def test_each_source_of_backings_gets_as_many_clips_at_the_stated_level(folders: tuple[Path, Path]) -> None:
    made, again = (list(strangers.mixes(*folders, clips=3, seed=1)) for _ in range(2))
    assert [source for source, _, _ in made] == ["bands"] * 3 + ["games"] * 3  # drums alone are no backing
    for (_, mixture, vocals), (_, repeated, _) in zip(made, again, strict=True):
        assert mixture.shape == vocals.shape == (2, strangers.SECONDS * strangers.RATE)
        assert level(vocals.T) - level((mixture - vocals).T) == pytest.approx(-strangers.BELOW, abs=0.05)
        assert np.abs(mixture).max() == pytest.approx(strangers.PEAK, rel=1e-4)
        np.testing.assert_array_equal(mixture, repeated)
    assert not np.array_equal(made[0][1], next(strangers.mixes(*folders, clips=3, seed=2))[1])


def test_a_model_and_a_peer_are_measured_on_the_same_mixes(folders: tuple[Path, Path], model: Path) -> None:
    found = {name: strangers.scores(name, *folders, 2, 0) for name in (str(model), "mixture")}
    assert all(set(each) == {"bands", "games"} for each in found.values())
    # Mean power over 6 s is not the level of what sounds, but near it.
    assert found["mixture"]["bands"] == pytest.approx(-strangers.BELOW, abs=2.0)
    assert all(np.isfinite(list(each.values())).all() for each in found.values())


def test_where_nothing_sounds_or_nothing_can_be_mixed_it_says_so(folders: tuple[Path, Path], tmp_path: Path) -> None:
    valid, train = folders
    with pytest.raises(AudioError, match="no song has a backing"):
        next(strangers.mixes(valid, train / "loops", 1, 0))
    with pytest.raises(AudioError, match="no song has vocals"):
        next(strangers.mixes(train, train, 1, 0))
    (tmp_path / "quiet").mkdir()
    soundfile.write(tmp_path / "quiet" / "vocals.wav", np.zeros((7 * strangers.RATE, 2)), strangers.RATE)
    with pytest.raises(AudioError, match="all 1 songs with vocals are silent"):
        next(strangers.mixes(tmp_path / "quiet", train, 1, 0))
    (tmp_path / "quiet").rename(valid / "quiet")  # beside songs in which somebody sings it is left out
    assert all(level(vocals.T) > -60 for _, _, vocals in strangers.mixes(valid, train, 4, 0))
