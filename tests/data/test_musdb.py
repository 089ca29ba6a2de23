import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.excerpt import excerpt
from recipes.score import song_folders
from separate import AudioError
from separate.data.musdb import MusdbData
from separate.data.references import mixture
from separate.data.stems import open_song
from tests.conftest import RATE
from tests.songs import STEMS

TRAIN, VALID = "A Classic Education - NightOwl", "Actions - One Minute Smile"  # one of musdb's 14 validation songs
TEST = "AM Contra - Heart Peripheral"


@pytest.fixture(scope="module")
def musdb18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real stem file of stempeg's excerpt, twice, laid out as musdb18."""
    import stempeg

    root = tmp_path_factory.mktemp("musdb18")
    (root / "train").mkdir()
    (root / "test").mkdir()
    for split, name in (("train", TRAIN), ("train", VALID), ("test", TEST)):
        shutil.copy(stempeg.example_stem_path(), root / split / f"{name}.stem.mp4")
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
    data.prepare_data()
    decoded_at = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    data.setup("fit")
    assert decoded_at and decoded_at == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    assert [song.name for song in data.train_songs] == [TRAIN]
    assert [song.name for song in data.valid_songs] == [VALID]
    decoded = data.train_songs[0].read("vocals", 0, data.train_songs[0].samples)
    np.testing.assert_array_equal(decoded, excerpt()["vocals"].astype(np.float32))
    assert set(data.train_songs[0].files) == set(STEMS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    MusdbData(musdb18, ["vocals"], cache=tmp_path).setup("fit")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}


def test_a_test_song_keeps_the_mixture_that_was_published_beyond_full_scale_too(musdb18: Path, tmp_path: Path) -> None:
    (folder,) = song_folders(musdb18, tmp_path)
    song = open_song(folder)
    assert song is not None and song.name == TEST
    mixed, published = mixture(song)(0, song.samples), excerpt()["mixture"].astype(np.float32)
    np.testing.assert_array_equal(mixed, published)
    assert np.abs(published).max() > 1
    assert np.abs(published - sum(song.read(stem, 0, song.samples) for stem in STEMS)).max() > 0.1  # it was mastered


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


def test_who_takes_one_musdb18_for_the_other_is_told(tmp_path: Path) -> None:
    for folder, name, cache, hint in (("mp4", "a.stem.mp4", None, "cache F"), ("hq", "a/vocals.wav", tmp_path / "cache", "without")):
        file = tmp_path / folder / "train" / name
        file.parent.mkdir(parents=True)
        file.touch()
        with pytest.raises(AudioError, match=f"0 training.*{hint}"):
            MusdbData(tmp_path / folder, ["vocals"], cache).setup("fit")


def test_musdb18_of_another_rate_than_the_recipes_is_refused(musdb18_hq: Path) -> None:
    with pytest.raises(AudioError, match=r"44100 Hz, but the recipe's rate is 22050"):
        MusdbData(musdb18_hq, list(STEMS), rate=22050).setup("fit")
