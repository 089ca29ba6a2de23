import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError
from separate.data.musdb import MusdbData
from tests.conftest import RATE
from tests.songs import STEMS, excerpt

TRAIN, VALID = "A Classic Education - NightOwl", "Actions - One Minute Smile"  # one of musdb's 14 validation songs


@pytest.fixture(scope="module")
def musdb18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real stem file of stempeg's excerpt, twice, laid out as musdb18."""
    import stempeg

    root = tmp_path_factory.mktemp("musdb18")
    (root / "train").mkdir()
    (root / "test").mkdir()
    for name in (TRAIN, VALID):
        shutil.copy(stempeg.example_stem_path(), root / "train" / f"{name}.stem.mp4")
    return root


@pytest.fixture(scope="module")
def musdb18_hq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("musdb18hq")
    (root / "test").mkdir()
    for name in (TRAIN, VALID):
        (root / "train" / name).mkdir(parents=True)
        for stem, wave in excerpt().items():
            soundfile.write(root / "train" / name / f"{stem}.wav", wave, RATE)
    return root


def test_musdb18_is_decoded_once_and_split_as_the_package_says(musdb18: Path, tmp_path: Path) -> None:
    data = MusdbData(musdb18, ["vocals"], cache=tmp_path)
    data.setup("fit")
    assert [song.name for song in data.train_songs] == [TRAIN]
    assert [song.name for song in data.valid_songs] == [VALID]
    decoded = data.train_songs[0].read("vocals", 0, data.train_songs[0].samples)
    np.testing.assert_allclose(decoded, excerpt()["vocals"], atol=1e-4)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    MusdbData(musdb18, ["vocals"], cache=tmp_path).setup("fit")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}


def test_musdb18_hq_is_read_in_place(musdb18_hq: Path) -> None:
    data = MusdbData(musdb18_hq, list(STEMS), examples=2, samples=20000)
    data.setup("fit")
    assert ([song.name for song in data.train_songs], [song.name for song in data.valid_songs]) == ([TRAIN], [VALID])
    assert data.train_set(0)[0].shape == (5, 2, 20000)


def test_a_folder_without_musdb_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such folder"):
        MusdbData(tmp_path / "missing", ["vocals"]).setup("fit")
    (tmp_path / "train").mkdir()
    with pytest.raises(AudioError, match="0 training"):
        MusdbData(tmp_path, ["vocals"]).setup("fit")
