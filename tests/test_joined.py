from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError
from separate.audio import AudioReader
from separate.joined import SPARE
from tests.conftest import RATE, sound
from tests.test_audio import av_write, read
from tests.test_lengths import without_tag


def write(path: Path, seconds: float) -> bytes:
    wave, kind = sound(seconds, rate=48000 if path.suffix == ".opus" else RATE), path.suffix[1:]
    if kind in ("m4a", "oga", "opus"):
        av_write(path, wave, {"m4a": "aac", "oga": "flac", "opus": "libopus"}[kind], 48000 if kind == "opus" else RATE)
    else:
        soundfile.write(path, wave, RATE, format={"aif": "AIFF"}.get(kind))
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus", "oga", "flac", "wav", "aiff", "caf", "w64", "m4a"])
def test_recordings_one_after_another_are_an_error(tmp_path: Path, suffix: str) -> None:
    first, second = write(tmp_path / f"a.{suffix}", 2), write(tmp_path / f"b.{suffix}", 1)
    for data in (first + second, second + first, first + first):
        (tmp_path / f"c.{suffix}").write_bytes(data)
        with pytest.raises(AudioError, match="several recordings one after another"):
            AudioReader(tmp_path / f"c.{suffix}")


def test_mp3s_joined_are_an_error_or_read_to_the_end(tmp_path: Path) -> None:
    """Whether the second or the first tells its length, has a title, or a tag after it; two that have nothing are one stream."""
    told, path = write(tmp_path / "a.mp3", 2), tmp_path / "c.mp3"
    bare = without_tag(tmp_path / "b.mp3", sound(1)).read_bytes()
    titled = without_tag(tmp_path / "d.mp3", sound(1), id3=True).read_bytes()
    for parts in (
        (told, bare),
        (bare, told),
        (titled, titled),
        (bare, titled),
        (bare, b"TAG" + bytes(125), bare),
        (told, bytes(999), bare),
    ):
        path.write_bytes(b"".join(parts))
        with pytest.raises(AudioError, match="several recordings one after another"):
            AudioReader(path)
    path.write_bytes(titled + bare)
    assert len(read(path)) == len(read(tmp_path / "d.mp3")) + len(read(tmp_path / "b.mp3"))


def test_an_mp3_with_tags_at_its_end_or_a_few_frames_more_than_it_says_is_read(tmp_path: Path) -> None:
    told, path = write(tmp_path / "a.mp3", 2), tmp_path / "c.mp3"
    bare = without_tag(tmp_path / "b.mp3", sound(1), 160000).read_bytes()
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (1000).to_bytes(4, "little") + bytes(7) + b"\xa0" + bytes(1008)
    for start, tail in ((told, b"TAG" + bytes(125)), (told, ape), (bare, ape + b"TAG" + bytes(125)), (told, bare[: SPARE * 522])):
        path.write_bytes(start + tail)
        assert len(read(path)) == (2 * RATE if start is told else len(read(tmp_path / "b.mp3")))


def test_a_flac_with_the_beginning_of_one_in_its_picture_is_read(tmp_path: Path) -> None:
    data = write(tmp_path / "a.flac", 1)
    picture = b"\x06" + (1000).to_bytes(3, "big") + data[:1000]
    (tmp_path / "a.flac").write_bytes(data[:42] + picture + data[42:])
    assert len(read(tmp_path / "a.flac")) == RATE


def test_a_second_flac_is_found_wherever_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, path = write(tmp_path / "a.flac", 0.2), tmp_path / "b.flac"
    path.write_bytes(data + data)
    for piece in range(8, 24):
        monkeypatch.setattr("separate.joined.PIECE", piece)
        with pytest.raises(AudioError, match="several recordings"):
            AudioReader(path)


def test_sound_after_the_end_that_a_header_tells_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not cut off: only one last frame is padding."""
    reader = AudioReader(av_write(tmp_path / "a.m4a", sound(2), "aac"))
    for length in (RATE, 43 * 1024):
        monkeypatch.setattr(reader, "_length", length)
        with pytest.raises(AudioError, match="is longer than the"):
            list(reader.blocks())
    monkeypatch.setattr(reader, "_length", 2 * RATE - 10)
    assert len(np.concatenate(list(reader.blocks()))) == 2 * RATE - 10
