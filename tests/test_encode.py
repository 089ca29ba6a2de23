from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError, AudioFormat
from separate import encode as module
from separate.encode import AudioWriter
from tests.conftest import RATE, sound


def write(path: Path, wave: np.ndarray, form: AudioFormat, **arguments) -> Path:
    with AudioWriter(path, RATE, wave.shape[1], form, len(wave), **arguments) as writer:
        for start in range(0, len(wave), 5000):
            writer.write(wave[start : start + 5000])
    return path


@pytest.mark.parametrize(
    "name, subtype, step",
    [("wav", "16", 2**-15), ("wav", "24", 2**-23), ("wav", "float", 0), ("flac", "16", 2**-15), ("flac", "24", 2**-23)],
)
def test_lossless_formats_have_the_bits_they_say(tmp_path: Path, name: str, subtype: str, step: float) -> None:
    wave = sound(1)
    out, rate = soundfile.read(write(tmp_path / "a", wave, AudioFormat(name, subtype)), always_2d=True)
    assert (rate, out.shape) == (RATE, wave.shape)
    assert np.abs(out - wave).max() <= step
    if step:
        assert np.abs(out - wave).max() > step / 8  # not finer than it says: so not coarser than needed either


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_tags_are_carried_over(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a", sound(1), AudioFormat(name), tags={"title": "Düne", "artist": "B"})
    with soundfile.SoundFile(path) as file:
        assert (file.title, file.artist) == ("Düne", "B")


def test_a_long_ogg_is_encoded_whole(tmp_path: Path) -> None:
    wave = np.tile(sound(10), (30, 1))
    with AudioWriter(tmp_path / "a.ogg", RATE, 2, AudioFormat("ogg")) as writer:
        writer.write(wave)
    assert soundfile.info(tmp_path / "a.ogg").frames == len(wave)


def test_float_is_not_clamped_and_integers_refuse_to_clip(tmp_path: Path) -> None:
    loud = 4 * sound(0.5)
    out, _ = soundfile.read(write(tmp_path / "a.wav", loud, AudioFormat("wav", "float")), dtype="float32")
    np.testing.assert_array_equal(out, loud)
    with pytest.raises(AudioError, match="full scale"):
        write(tmp_path / "b.wav", loud, AudioFormat("wav", "16"))
    assert not (tmp_path / "b.wav").exists()


def test_more_than_4_gib_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RF64_BYTES", 1000)
    path = write(tmp_path / "a.wav", sound(0.1), AudioFormat())
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).frames == len(sound(0.1))


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"precious")
    with pytest.raises(RuntimeError), AudioWriter(tmp_path / "a.wav", RATE, 2, AudioFormat()) as writer:
        writer.write(sound(0.1))
        raise RuntimeError("the process that feeds it failed")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.wav", b"precious")]


def test_the_file_appears_at_the_end_only(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "a.wav", RATE, 2, AudioFormat()) as writer:
        writer.write(sound(0.1))
        assert not (tmp_path / "a.wav").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").stat().st_mode & 0o400


def test_where_nothing_can_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AudioError, match="cannot be written"):
        AudioWriter(tmp_path / "file" / "a.wav", RATE, 2, AudioFormat())


@pytest.mark.parametrize(
    "name, subtype, message", [("aac", None, "no output format"), ("flac", "float", "subtypes 16, 24"), ("mp3", "16", "no subtypes")]
)
def test_formats_that_do_not_exist_are_refused(name: str, subtype: str | None, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        AudioFormat(name, subtype)


def test_mp3_refuses_rates_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="mp3 cannot hold 96000 Hz"):
        AudioWriter(tmp_path / "a.mp3", 96000, 2, AudioFormat("mp3"))
