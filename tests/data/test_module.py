from pathlib import Path

import pytest

from separate import AudioError
from separate.data.mixer import MixConfig
from separate.data.module import StemsData
from tests.songs import made_up_song


@pytest.mark.parametrize("places", [("one", "one"), ("album/one", "album/one"), ("open/album/one", "album/one")])
def test_a_song_in_train_and_in_valid_is_an_error(tmp_path: Path, places: tuple[str, str]) -> None:
    for split, place in zip(("train", "valid"), places, strict=True):
        made_up_song(tmp_path / split / place, 0.01)
    with pytest.raises(AudioError, match=r"in train and in valid: .*one"):
        StemsData(tmp_path, ["vocals"]).find_songs()


def test_a_song_that_a_link_puts_into_both_is_an_error(tmp_path: Path) -> None:
    made_up_song(tmp_path / "train" / "album" / "one", 0.01)
    (tmp_path / "valid" / "kept").mkdir(parents=True)
    (tmp_path / "valid" / "kept" / "two").symlink_to(tmp_path / "train" / "album" / "one", target_is_directory=True)
    with pytest.raises(AudioError, match=r"in train and in valid: .*album/one"):
        StemsData(tmp_path, ["vocals"]).find_songs()


@pytest.mark.parametrize("places", [("one", "two"), ("album/000", "composed/000")])
def test_other_songs_of_the_same_name_are_not(tmp_path: Path, places: tuple[str, str]) -> None:
    for split, place in zip(("train", "valid"), places, strict=True):
        made_up_song(tmp_path / split / place, 0.01)
    assert [len(songs) for songs in StemsData(tmp_path, ["vocals"]).find_songs()] == [1, 1]


@pytest.mark.parametrize("targets, uses", [(["drums"], 2), (["vocals"], 5), (["vocals"], 0)])
def test_examples_are_used_again_only_with_other_vocals(tmp_path: Path, targets: list[str], uses: int) -> None:
    with pytest.raises(ValueError, match=f"uses is {uses}"):
        StemsData(tmp_path, targets, batch_size=4, uses=uses)


def test_weights_of_sources_that_are_not_there_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "valid"):
        made_up_song(tmp_path / split / split / "one", 0.01)
    mix = MixConfig(source_weights={"train/vocals": 2, "trian/vocals": 2, "album": 1})
    StemsData(tmp_path, ["vocals"], mix=mix).setup("fit")
    assert [record.getMessage() for record in caplog.records] == ["source_weights: no training song comes from album, trian"]
