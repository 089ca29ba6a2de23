"""MPEG audio (mp3, mp2): where its frames are, and what the first of them tells of their number.

Frames follow ISO 11172-3, section 2.4.2.3, and 13818-3 for the lower rates. An encoder that knows how long its stream became says so
in a silent first frame: in a Xing tag (called Info where the bitrate is constant) or in Fraunhofer's VBRI.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEAD = 56  # bytes: a frame's beginning, up to the end of a length tag's counts
SEARCH = 1 << 16  # bytes looked at for the next frame where there is damage
MAX_FRAMES = 1 << 20  # seven hours
# kbit/s of the bitrate indices 1 to 14; by MPEG-1 or one of the lower rates, and layer.
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS = {
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW,
    (False, 3): _LOW,
}


@dataclass(frozen=True)
class LengthTag:
    """name: b"Xing", b"Info" or b"VBRI"; frames: how many follow; size: bytes from its own frame on. 0 is for what it does not tell."""

    name: bytes
    frames: int
    size: int


def frame_length(head: bytes) -> int:
    """Bytes of the frame that begins with these four; 0 if none does, or in the free format, which does not tell."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer, bitrate, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    slot, slots = 4 if layer == 1 else 1, 12 if layer == 1 else 72 if layer == 3 and version != 3 else 144
    return slot * (slots * 1000 * _KBPS[version == 3, layer][bitrate - 1] // hertz + (head[2] >> 1 & 1))


def length_tag(head: bytes) -> LengthTag | None:
    """The tag in the frame that begins with these bytes, as decoders look for it: Xing's after as many zeros as side information takes."""
    if not frame_length(head) or len(head) < HEAD:
        return None
    stereo, full = head[3] >> 6 != 3, head[1] >> 3 & 3 == 3
    place = 4 + ((32 if stereo else 17) if full else (17 if stereo else 9))
    if head[place : place + 4] in (b"Xing", b"Info") and not any(head[6:place]):
        flags, first, second = struct.unpack_from(">III", head, place + 4)
        counts = (first, second) if flags & 1 else (0, first)
        return LengthTag(head[place : place + 4], counts[0], counts[1] if flags & 2 else 0)
    if head[36:40] == b"VBRI":
        size, number = struct.unpack_from(">II", head, 46)
        return LengthTag(b"VBRI", number, size)
    return None


def tag_size(head: bytes) -> int:
    """Bytes of the ID3v2 (its sizes hold seven bits a byte), APEv2 or ID3v1 tag that begins with these 32; 0 if none does."""
    if head[:3] == b"ID3" and len(head) >= 10:
        a, b, c, d = head[6:10]
        return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) >= 32:
        return 32 + (int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0)
    return 128 if head[:3] == b"TAG" else 0


def first_frame(file: BinaryIO) -> tuple[int, bytes]:
    """Where audio begins after the tags that lead, and the first bytes there, which only in MPEG audio are a frame's."""
    position, head = 0, b""
    for _ in range(16):
        file.seek(position)
        head = file.read(HEAD)
        if head[:3] != b"ID3" or not tag_size(head):
            break
        position += tag_size(head)
    return position, head


def frames(file: BinaryIO, position: int) -> Iterator[tuple[bytes, bool]]:
    """Every frame's first bytes, and whether there is a tag between it and the one before; up to where no more can be found."""
    tagged = False
    for _ in range(MAX_FRAMES):
        file.seek(position)
        head = file.read(HEAD)
        if length := frame_length(head):
            yield head, tagged
            tagged = False
        elif length := tag_size(head):
            tagged = True
        elif not (length := _distance(file, position)):
            return
        position += length


def _distance(file: BinaryIO, position: int) -> int:
    """From damage to the next three frames of a kind in a row, or a tag; 0 if they are not near."""
    file.seek(position)
    near = file.read(SEARCH)
    for match in re.finditer(rb"\xff[\xe2-\xff]|ID3|TAG|APETAGEX", near[1:]):
        place = start = 1 + match.start()
        if near[place : place + 1] != b"\xff":
            return place
        for _ in range(3):
            alike = near[place : place + 2] == near[start : start + 2]
            length = frame_length(near[place : place + 4]) if alike else 0
            if not length:
                break
            place += length
        else:
            return start
    return 0
