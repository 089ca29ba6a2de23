from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError
from separate.data.stems import find_songs, open_song, segment
from tests.conftest import RATE, sound
from tests.songs import made_up_song


def test_songs_are_found_with_their_source(tmp_path: Path) -> None:
    made_up_song(tmp_path / "album" / "one")
    made_up_song(tmp_path / "other album" / "two", stems=("accompaniment",))
    (tmp_path / "album" / "notes.txt").write_text("not a song")
    songs = find_songs(tmp_path, RATE)
    assert [(song.source, song.name, sorted(song.files)) for song in songs] == [
        ("album", "one", ["bass", "drums", "other", "vocals"]),
        ("other album", "two", ["accompaniment"]),
    ]
    assert songs[0].samples == 4 * RATE


def test_links_to_songs_are_followed_and_unfinished_songs_left_out(tmp_path: Path) -> None:
    elsewhere = made_up_song(tmp_path / "disk" / "album" / "one")
    (tmp_path / "songs" / "album").mkdir(parents=True)
    (tmp_path / "songs" / "album" / "linked").symlink_to(elsewhere, target_is_directory=True)
    made_up_song(tmp_path / "songs" / "album" / ".two.unfinished")
    assert [song.name for song in find_songs(tmp_path / "songs", RATE)] == ["linked"]


def test_links_that_lead_back_give_no_song_twice(tmp_path: Path) -> None:
    made_up_song(tmp_path / "songs" / "train" / "album" / "one", 0.01)
    made_up_song(tmp_path / "songs" / "valid" / "album" / "two", 0.01)
    for name, target in (("up", "."), ("twin", "train/album/one")):
        (tmp_path / "songs" / "train" / "album" / name).symlink_to(tmp_path / "songs" / target, target_is_directory=True)
    assert [song.name for song in find_songs(tmp_path / "songs" / "train", RATE)] == ["one"]


def test_a_clip_is_what_stands_there_and_silence_after_the_end(tmp_path: Path) -> None:
    song = open_song(made_up_song(tmp_path / "a" / "one", 1.0, ("vocals",)))
    assert song is not None
    whole, _ = soundfile.read(song.files["vocals"], dtype="float32")
    np.testing.assert_array_equal(song.read("vocals", 1000, 500), whole[1000:1500])
    tail = song.read("vocals", RATE - 10, 30)
    np.testing.assert_array_equal(tail[:10], whole[-10:])
    assert tail.shape == (30, 2) and not tail[10:].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_an_error(tmp_path: Path, value: float) -> None:
    folder, wave = made_up_song(tmp_path / "one", 1.0), sound(1)
    wave[100] = value
    soundfile.write(folder / "bass.wav", wave, RATE, "FLOAT")
    song = open_song(folder)
    assert song is not None and song.read("bass", 200, 100).any()
    with pytest.raises(AudioError, match=r"bass\.wav: holds samples that are not numbers"):
        song.read("bass", 0, 200)


def test_a_segment_is_targets_and_all_the_rest(tmp_path: Path) -> None:
    song = open_song(made_up_song(tmp_path / "a" / "one", 1.0))
    assert song is not None
    rows = segment(song, ("vocals", "drums"), 100, 200)
    np.testing.assert_array_equal(rows[0], song.read("vocals", 100, 200))
    np.testing.assert_allclose(rows[2], song.read("bass", 100, 200) + song.read("other", 100, 200), atol=1e-7)


def test_what_an_accompaniment_has_beyond_the_other_stems_is_not_counted_twice(tmp_path: Path) -> None:
    """With all parts known nothing of it is left; without bass and other it stands for those; alone for everything."""
    folder = made_up_song(tmp_path / "a" / "one", 1.0)
    parts = {stem: soundfile.read(folder / f"{stem}.wav", dtype="float32")[0] for stem in ("drums", "bass", "other")}
    soundfile.write(folder / "accompaniment.wav", sum(parts.values()), RATE, "FLOAT")
    for gone, left in (((), 0.0), (("bass", "other"), parts["bass"] + parts["other"]), (("drums",), sum(parts.values()))):
        for stem in gone:
            (folder / f"{stem}.wav").unlink()
        song = open_song(folder)
        assert song is not None and ("accompaniment" in song.apart()) == bool(gone)
        np.testing.assert_allclose(song.read_apart("accompaniment", 100, 200), np.broadcast_to(left, (RATE, 2))[100:300], atol=1e-6)
        rows = segment(song, ("vocals",), 100, 200)
        np.testing.assert_allclose(rows[1], sum(parts.values())[100:300], atol=1e-6)
        np.testing.assert_array_equal(song.read_apart("vocals", 100, 200), rows[0])


def test_stems_that_do_not_fit_together_are_an_error(tmp_path: Path) -> None:
    folder = made_up_song(tmp_path / "a" / "one")
    soundfile.write(folder / "bass.wav", sound(1.0), RATE)
    with pytest.raises(AudioError, match="differ in length"):
        open_song(folder)


def test_only_audio_files_are_stems(tmp_path: Path) -> None:
    folder = made_up_song(tmp_path / "a" / "one", 0.01)
    (folder / "vocals.txt").write_text("la la la")
    song = open_song(folder)
    assert song is not None and song.files["vocals"].name == "vocals.wav"
    soundfile.write(folder / "vocals.flac", sound(0.01), RATE)
    with pytest.raises(AudioError, match=r"vocals\.flac and vocals\.wav"):
        open_song(folder)


def test_a_stem_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = made_up_song(tmp_path / "a" / "one", 0.01)
    (folder / "bass.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"bass\.wav: cannot be read as audio"):
        open_song(folder)


def test_no_songs_or_another_rate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no folder"):
        find_songs(tmp_path, RATE)
    made_up_song(tmp_path / "a" / "one", 1.0)
    with pytest.raises(AudioError, match="44100 Hz"):
        find_songs(tmp_path, 48000)
