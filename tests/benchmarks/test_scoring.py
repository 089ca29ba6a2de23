from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import scoring
from separate import AudioError
from tests.conftest import RATE
from tests.songs import made_up_song


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """The vocals of the first are silent, the second has none."""
    folder = made_up_song(tmp_path / "songs" / "album" / "a", 1.5)
    soundfile.write(folder / "vocals.wav", np.zeros((len(soundfile.read(folder / "vocals.wav")[0]), 2)), RATE)
    made_up_song(tmp_path / "songs" / "album" / "b", 1.5, ("drums", "bass"))
    return tmp_path / "songs"


def test_the_first_song_that_museval_takes_is_measured_and_all_minutes_are_told(
    songs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up_song(songs / "album" / "c", 9.0)
    made_up_song(songs / "album" / "d", 3.0)
    monkeypatch.setattr(scoring, "seconds", lambda _, jobs: 10.0 / jobs)
    monkeypatch.setattr(scoring, "alone", lambda function, *arguments: (function(*arguments), 100.0))
    monkeypatch.setattr(scoring, "pin_threads", lambda _: None)
    scoring.main([str(songs)])
    _, jobs, ours, musevals = capsys.readouterr().out.splitlines()
    assert jobs == "4 songs, 0.2 minutes: one job 10.0 s, two jobs 5.0 s: 50%"  # 15 seconds
    assert ours.startswith("separate.bsseval, c, 0.1 minutes, one thread: ")
    assert musevals.startswith("museval, c, 0.1 minutes, one thread: ")


def test_songs_of_which_museval_takes_none_are_one_line(songs: Path) -> None:
    with pytest.raises(SystemExit, match=r"songs: no song in it has vocals and an accompaniment that sound$"):
        scoring.main([str(songs)])


def test_a_song_that_cannot_be_scored_is_named(tmp_path: Path) -> None:
    (tmp_path / "song").mkdir()
    soundfile.write(tmp_path / "song" / "vocals.wav", np.ones((RATE, 2)), RATE)
    with pytest.raises(AudioError, match=r"^recipes\.score failed: song: only vocals to score"):
        scoring.seconds(tmp_path, 1)
