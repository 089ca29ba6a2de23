from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError, AudioFormat, Cancelled, Job, Separator
from separate.files import find_tracks, separate_file
from tests.conftest import RATE, sound


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_have_length_rate_and_channels_of_the_file(separator: Separator, tmp_path: Path, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "song.flac", sound(1.2345, channels, rate), rate)
    result = separator.file(tmp_path / "song.flac", Job(tmp_path / "out"))
    assert [str(path.relative_to(tmp_path)) for path in result.files.values()] == [
        "out/tiny/song/vocals.wav",
        "out/tiny/song/accompaniment.wav",
    ]
    for path in result.files.values():
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels) == (len(sound(1.2345, channels, rate)), rate, channels)


def test_the_file_holds_what_the_tensor_call_gives(separator: Separator, song: Path, tmp_path: Path) -> None:
    import torch

    result = separator.file(song, Job(tmp_path / "out", ("vocals",), AudioFormat("wav", "float")))
    written, _ = soundfile.read(result.files["vocals"], dtype="float32")
    mixture, _ = soundfile.read(song, dtype="float32")
    expected = separator(torch.from_numpy(mixture.T), RATE, ["vocals"])["vocals"]
    np.testing.assert_allclose(written, expected.T.numpy(), atol=1e-5)


def test_one_gain_for_all_stems_if_one_would_clip(separator: Separator, tmp_path: Path) -> None:
    loud = 4 * sound(2)
    soundfile.write(tmp_path / "loud.wav", loud, RATE, subtype="FLOAT")
    result = separator.file(tmp_path / "loud.wav", Job(tmp_path / "out", form=AudioFormat("wav", "24")))
    plain = separator.file(tmp_path / "loud.wav", Job(tmp_path / "float", form=AudioFormat("wav", "float")))
    assert result.gain_db < -1 and plain.gain_db == 0
    total = sum(soundfile.read(path)[0] for path in result.files.values())
    np.testing.assert_allclose(total, loud * 10 ** (result.gain_db / 20), atol=1e-5)
    peak = max(np.abs(soundfile.read(path)[0]).max() for path in result.files.values())
    assert 0.999 < peak <= 1


def test_tags_go_along(separator: Separator, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "song.flac", "w", RATE, 2) as file:
        file.title = "Song"
        file.write(sound(0.5))
    result = separator.file(tmp_path / "song.flac", Job(tmp_path / "out", form=AudioFormat("mp3")))
    assert soundfile.SoundFile(result.files["vocals"]).title == "Song"


def test_what_exists_is_refused_skipped_or_replaced(separator: Separator, song: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "out", ("vocals",))
    target = separator.file(song, job).files["vocals"]
    first = target.read_bytes()
    target.write_bytes(b"mine")
    with pytest.raises(AudioError, match="exists already"):
        separator.file(song, job)
    assert separator.file(song, Job(tmp_path / "out", ("vocals",), existing="skip")).files == {}
    assert target.read_bytes() == b"mine"
    separator.file(song, Job(tmp_path / "out", ("vocals",), existing="overwrite"))
    assert target.read_bytes() == first


def test_a_failure_half_way_leaves_nothing(separator: Separator, tmp_path: Path) -> None:
    bad = sound(40)
    bad[-10] = np.inf
    soundfile.write(tmp_path / "bad.wav", bad, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        separator.file(tmp_path / "bad.wav", Job(tmp_path / "out"))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_cancelling_leaves_nothing(separator: Separator, song: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        assert total == 3 * RATE
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        separator.file(song, Job(tmp_path / "out"), stop)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("template", ["{stem}/{nonsense}", "fixed.wav", "{stem", "{0}{stem}"])
def test_templates_that_cannot_name_stems_are_refused(template: str) -> None:
    with pytest.raises(AudioError, match="template"):
        Job(template=template)


def test_nothing_is_written_outside_the_output_folder(separator: Separator, song: Path, tmp_path: Path) -> None:
    for template in ("../{stem}.wav", "/tmp/{stem}.wav"):
        with pytest.raises(AudioError, match="out of the output"):
            separator.file(song, Job(tmp_path / "out", template=template))


def test_folders_are_searched_and_tracks_named_by_their_place(tmp_path: Path) -> None:
    for name in ("a/one.mp3", "a/two.txt", "a/b/three.FLAC", "a/.hidden/four.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    complaints: list[str] = []
    tracks = find_tracks([tmp_path / "a", tmp_path / "x.wav", tmp_path / "empty"], complaints.append)
    assert [track for _, track in tracks] == [str(Path("b/three")), "one", "x"]
    assert len(complaints) == 1 and "empty" in complaints[0]


@pytest.mark.parametrize("name", ["Ünïcödé 音.wav", "new\nline.wav", "-dash.wav", "a" * 200 + ".wav", "no extension", "{braces}.wav"])
def test_odd_names(separator: Separator, tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "plain.wav", sound(0.1), RATE)
    path = (tmp_path / "plain.wav").rename(tmp_path / name)
    result = separate_file(separator, path, Job(tmp_path / "out", ("vocals",)))
    assert result.files["vocals"].is_file()
