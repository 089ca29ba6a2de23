from pathlib import Path

import pytest

from separate import AudioError
from separate.data.module import StemsData
from tests.songs import made_up_song


@pytest.mark.parametrize("places", [("one", "one"), ("album/one", "album/one"), ("open/album/one", "album/one")])
def test_a_song_in_train_and_in_valid_is_an_error(tmp_path: Path, places: tuple[str, str]) -> None:
    for split, place in zip(("train", "valid"), places, strict=True):
        made_up_song(tmp_path / split / place, 0.01)
    with pytest.raises(AudioError, match=r"in train and in valid: .*one"):
        StemsData(tmp_path, ["vocals"]).find_songs()


@pytest.mark.parametrize("places", [("one", "two"), ("album/000", "composed/000")])
def test_other_songs_of_the_same_name_are_not(tmp_path: Path, places: tuple[str, str]) -> None:
    for split, place in zip(("train", "valid"), places, strict=True):
        made_up_song(tmp_path / split / place, 0.01)
    assert [len(songs) for songs in StemsData(tmp_path, ["vocals"]).find_songs()] == [1, 1]
