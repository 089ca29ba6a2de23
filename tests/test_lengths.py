"""How long files say they are, where that is a guess, unknown, or another stream's."""

import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

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
