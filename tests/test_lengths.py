"""How long files say they are, where that is a guess, unknown, or another stream's."""

import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from separate import AudioError
from separate.audio import AudioReader, _seconds
from tests.conftest import RATE, sound
from tests.test_audio import av_write, read


@pytest.mark.parametrize("length", [0x7FFFF000, 0x7FFFF000 - 6, 0x80000000])
def test_a_wav_that_sox_or_arecord_piped_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(1), RATE)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, length + 36)
    struct.pack_into("<I", data, 40, length)
    path.write_bytes(data)
    assert len(read(path)) == RATE
    data[:44] = b"RF64" + data[4:12] + b"ds64" + struct.pack("<IQQQI", 28, length + 72, length, length // 4, 0) + data[12:40] + b"\xff" * 4
    path.write_bytes(data)
    with pytest.raises(AudioError, match="truncated"):
        read(path)


def without_tag(path: Path, wave: np.ndarray, bit_rate: int = 128000, id3: bool = False) -> Path:
    """An mp3 that does not tell its length, at a constant bitrate."""
    return av_write(path, wave, "libmp3lame", bit_rate=bit_rate, write_xing="0", id3v2_version="3" if id3 else "0")


def test_an_mp3_that_does_not_tell_its_length_is_read_to_the_end(tmp_path: Path) -> None:
    """Where the bitrate falls, libsndfile takes the rest for shorter than it is; where it rises, FFmpeg for longer."""
    loud, quiet = (without_tag(tmp_path / f"{rate}.mp3", sound(3), rate).read_bytes() for rate in (320000, 32000))
    frames = -(-(3 * RATE + 1105) // 1152)
    for name, data in (("constant", loud), ("falls", loud + quiet), ("rises", quiet + loud)):
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(data)
        reader = AudioReader(path)
        out = np.concatenate(list(reader.blocks()))
        assert (reader.samples, len(out)) == (None, 1152 * frames * (1 if name == "constant" else 2))
    np.testing.assert_allclose(read(tmp_path / "constant.mp3"), soundfile.read(tmp_path / "constant.mp3")[0], atol=1e-5)


def test_the_length_tag_of_fraunhofer_is_believed(tmp_path: Path) -> None:
    """libsndfile knows only Xing's."""
    loud, quiet = (without_tag(tmp_path / f"{rate}.mp3", sound(3), rate).read_bytes() for rate in (320000, 32000))
    whole, path = len(read(without_tag(tmp_path / "a.mp3", sound(3)))), tmp_path / "b.mp3"
    silent = loud[:4] + bytes(32) + b"VBRI" + struct.pack(">HHHII", 1, 0, 50, 1044 + len(loud + quiet), 2 * whole // 1152)
    path.write_bytes(silent.ljust(1044, b"\0") + loud + quiet)
    assert (AudioReader(path).samples, len(read(path))) == (2 * whole, 2 * whole)
    path.write_bytes(path.read_bytes()[: -len(quiet) // 2])
    with pytest.raises(AudioError, match="truncated"):
        read(path)


@pytest.mark.parametrize("title", ["Info", "Xing", "VBRI"])
def test_the_word_for_a_length_tag_in_a_title_is_none(tmp_path: Path, title: str) -> None:
    title += "\0\x0f" * 8
    whole = av_write(tmp_path / "a.mp3", sound(2), "libmp3lame", title=title)
    assert len(read(whole)) == 2 * RATE
    untold = av_write(tmp_path / "b.mp3", sound(2), "libmp3lame", title=title, write_xing="0")
    assert len(read(untold)) >= 2 * RATE
    whole.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(AudioError, match="truncated"):
        read(whole)


@pytest.mark.parametrize("suffix, codec", [("mkv", "aac"), ("webm", "libopus")])
def test_sound_that_begins_later_than_its_container_is_read(tmp_path: Path, suffix: str, codec: str) -> None:
    path = av_write(tmp_path / f"a.{suffix}", sound(2, rate=48000), codec, 48000, start=1.0)
    assert 0 <= len(read(path)) - 2 * 48000 < 2048
    assert abs((AudioReader(path).samples or 0) - 2 * 48000) < 2048


@pytest.mark.parametrize("suffix, video, audio", [("wmv", "wmv2", "wmav2"), ("mkv", "mpeg4", "aac"), ("mp4", "mpeg4", "aac")])
def test_sound_that_is_shorter_than_the_picture_is_read(tmp_path: Path, suffix: str, video: str, audio: str) -> None:
    import av

    with av.open(str(av_write(tmp_path / "sound.mka", sound(2), audio))) as source, av.open(str(tmp_path / f"a.{suffix}"), "w") as target:
        picture, stream = target.add_stream(video, rate=5), target.add_stream_from_template(source.streams.audio[0])
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for number in range(20):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            target.mux(picture.encode(frame))
        target.mux(picture.encode(None))
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert abs(len(read(tmp_path / f"a.{suffix}")) - 2 * RATE) < 4096


def test_the_length_of_several_streams_together_is_not_taken_for_that_of_the_sound() -> None:
    stream = SimpleNamespace(duration=None, time_base=Fraction(1, 1000), start_time=500, metadata={})
    for streams, expected in (([stream], 3.5), ([stream, stream], None)):
        container = SimpleNamespace(format=SimpleNamespace(name="matroska,webm"), streams=streams, duration=4_000_000)
        assert _seconds(container, stream) == expected


def test_an_aac_whose_bitrate_changes_is_read(tmp_path: Path) -> None:
    """FFmpeg guesses its length from the bitrate of its beginning."""
    parts = [av_write(tmp_path / f"{rate}.aac", sound(3), "aac", bit_rate=rate).read_bytes() for rate in (32000, 256000)]
    (tmp_path / "a.aac").write_bytes(b"".join(parts))
    assert 0 <= len(read(tmp_path / "a.aac")) - 6 * RATE < 8192
