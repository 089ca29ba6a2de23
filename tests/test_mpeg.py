from io import BytesIO
from pathlib import Path

import pytest

from separate.mpeg import LengthTag, frame_length, frames, length_tag, tag_size
from tests.conftest import sound
from tests.test_audio import av_write


@pytest.mark.parametrize(
    "codec, rates", [("libmp3lame", (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)), ("mp2", (44100, 48000))]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_frame_is_found(tmp_path: Path, codec: str, rates: tuple[int, ...], channels: int) -> None:
    import av

    for rate in rates:
        for bit_rate in (32000, 64000) if rate < 32000 else (64000, 160000):
            options = {"write_xing": "0", "id3v2_version": "0"} if codec == "libmp3lame" else {}
            path = av_write(
                tmp_path / f"a.{'mp2' if codec == 'mp2' else 'mp3'}", sound(1, channels, rate), codec, rate, bit_rate, **options
            )
            with av.open(str(path), format="mp3") as container:
                sizes = [packet.size for packet in container.demux() if packet.size]
            assert [frame_length(head) for head, _ in frames(BytesIO(path.read_bytes()), 0)] == sizes


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44100, 22050, 8000])
def test_the_length_tag_tells_of_the_frames_that_follow_and_of_all_bytes(tmp_path: Path, channels: int, rate: int) -> None:
    data = av_write(tmp_path / "a.mp3", sound(1, channels, rate), "libmp3lame", rate, 32000, id3v2_version="0").read_bytes()
    heads = [head for head, _ in frames(BytesIO(data), 0)]
    assert length_tag(heads[0]) == LengthTag(b"Info", len(heads) - 1, len(data))
    assert not any(length_tag(head) for head in heads[1:])


def test_what_begins_no_frame() -> None:
    for head in (b"", b"\xff\xfb", b"\xff\xe8\x90\x00", b"\xff\xf1\x50\x80", b"\xff\xfb\x00\x00", b"\xff\xfb\xf0\x00", b"\xff\xfb\x9c\x00"):
        assert not frame_length(head)
    assert frame_length(b"\xff\xff\x12\x00") == 4 * (12 * 32000 // 44100 + 1)  # layer I


def test_frames_go_on_after_tags_and_damage(tmp_path: Path) -> None:
    data = av_write(tmp_path / "a.mp3", sound(1), "libmp3lame", write_xing="0", id3v2_version="0").read_bytes()
    whole, id3 = len(list(frames(BytesIO(data), 0))), b"ID3\x04\0\0\0\0\x01\x00"
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (1000).to_bytes(4, "little") + bytes(7) + b"\xa0" + bytes(8)
    assert [tag_size(head) for head in (id3, ape, b"TAG", b"")] == [10 + 128, 1032, 128, 0]
    for between, tagged in (
        (id3 + bytes(128), 1),
        (ape + bytes(1000), 1),
        (b"TAG" + bytes(125), 1),
        (bytes(5000), 0),
        (b"\xff\xfb\x90\0" * 9, 0),
    ):
        found = list(frames(BytesIO(data + between + data), 0))
        assert (len(found), sum(apart for _, apart in found)) == (2 * whole, tagged)
