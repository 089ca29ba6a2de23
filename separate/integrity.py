"""Is a file all there? Containers that say how long they are, held against the bytes on disk.

libsndfile and FFmpeg play a truncated wav, au, mp3, ogg, aac, mp4 or webm to where it ends and report success; these checks tell the
difference. None of them looks at more than the bytes there are, or at endless places in a file of nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from separate.mpeg import first_frame, length_tag

UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what programs write that stream to a pipe
ENDLESS = range(0x7FFFF000 - (1 << 16), 0x80000000 + 1)  # the same of a wav by SoX, in whole blocks, and by arecord
MAX_CHUNKS = 1 << 10  # looked at
MAX_FRAMES = 1 << 20  # boxes of an mp4, or frames of an aac: six hours
_REFLECTED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")


def truncation(path: Path) -> str | None:
    """What is missing from a wav, aiff, au, caf, w64, mp3, ogg, aac, mp4 or webm file, in words; None if nothing is known to be."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(24)
        if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
            return _riff(file, size)
        if magic[:4] == b"FORM":
            return _short(int.from_bytes(magic[4:8], "big") + 8, size)
        if magic[:4] == b"OggS":
            return _ogg(file)
        if magic[4:8] == b"ftyp":
            return _mp4(file, size)
        if magic[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska(file, size)
        if magic[:4] in (b".snd", b"dns."):
            return _au(magic, size)
        if magic[:16] == W64:
            return _short(int.from_bytes(magic[16:24], "little"), size)
        if magic[:4] == b"caff":
            return _caf(file, size)
        start, head = first_frame(file)
        if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
            return _adts(file, start, size)
        return _mp3(start, head, size)


def _short(declared: int, size: int) -> str | None:
    return f"{declared - size} of {declared} bytes are missing" if declared > size else None


def _riff(file: BinaryIO, size: int) -> str | None:
    """The data chunk's length, which RF64 keeps in a chunk before it (EBU Tech 3306); the last chunk may lack its padding byte.

    Where the whole's length is that of the file, the data chunk must not end in the middle of nothing either. A length of nearly 2 GiB
    that the file does not have is one that was not known when it was written, not a loss.
    """
    file.seek(4)
    whole, long = int.from_bytes(file.read(4), "little") + 8, None
    for name, start, length in riff_chunks(file, 12, size):
        if name == b"ds64" and len(head := file.read(16)) == 16:
            whole, long = int.from_bytes(head[:8], "little") + 8, int.from_bytes(head[8:], "little")
        if name == b"data":
            length = long if long is not None and length == 0xFFFFFFFF else length
            end = start + length
            if length in UNKNOWN_SIZES or end > size:
                unknown = length in UNKNOWN_SIZES or (long is None and length in ENDLESS)
                return None if unknown else _short(end, size)
            fits = whole != size or any(_chunks_follow(file, place, size) for place in (end, end + length % 2))
            return None if fits else "its data chunk ends before the data does"
    return "its data chunk is missing"


def riff_chunks(file: BinaryIO, position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its content begins, length) of a RIFF file's chunks from `position` on; the file stands at the content."""
    for _ in range(MAX_CHUNKS):
        if position + 8 > size:
            return
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        yield name, position + 8, length
        position += 8 + length + length % 2


def _chunks_follow(file: BinaryIO, position: int, size: int) -> bool:
    """Whether there are chunks, or padding with zeros, up to the end."""
    for name, start, length in riff_chunks(file, position, size):
        if name == bytes(4):
            return True
        if not all(32 <= byte < 127 for byte in name):
            return False
        position = start + length + length % 2
    return position in (size, size + 1)


def _au(magic: bytes, size: int) -> str | None:
    """Where the data begins and how long it is; either byte order."""
    order = ">" if magic[:4] == b".snd" else "<"
    if len(magic) < 12:
        return "it ends within its header"
    start, length = struct.unpack(order + "II", magic[4:12])
    more = "its header tells of fewer bytes than there are" if start + length < size else None
    return None if length in UNKNOWN_SIZES else _short(start + length, size) or more


def caf_chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """(name, where it ends) of chunks up to the data, whose length may be -1: up to the end (Apple Core Audio Format 1.0)."""
    position = 8
    for _ in range(MAX_CHUNKS):
        if position + 12 > size:
            return
        file.seek(position)
        name, length = struct.unpack(">4sq", file.read(12))
        position = size if name == b"data" and length < 0 else position + 12 + max(0, length)
        yield name, position
        if name == b"data":
            return


def _caf(file: BinaryIO, size: int) -> str | None:
    *_, (name, end) = [(b"", 0), *caf_chunks(file, size)]
    return _short(end, size) if name == b"data" else "its data chunk is missing"


def _adts(file: BinaryIO, position: int, size: int) -> str | None:
    """Every frame tells its length (ISO 14496-3, 1.A.2.2); a file cut between two cannot be told from a whole one."""
    for _ in range(MAX_FRAMES):
        file.seek(position)
        head = file.read(7)
        if not head:
            return None
        if len(head) < 7 and head[0] == 0xFF:
            return "its last frame is cut off"
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if len(head) == 7 else 0
        if head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or length < 7:
            return None  # a tag at the end, or damage, which the decoder will meet
        if position + length > size:
            return "its last frame is cut off"
        position += length
    return None


def _ogg(file: BinaryIO) -> str | None:
    """Page upon page with the right checksum, none missing, up to one with the end-of-stream flag (RFC 3533, section 6).

    Decoders leave out a damaged page without a word.
    """
    file.seek(0)
    following: dict[bytes, int] = {}  # a stream's serial number: its next page's number
    ended = False
    for page in ogg_pages(file):
        serial, number = page[14:18], int.from_bytes(page[18:22], "little")
        if int.from_bytes(page[22:26], "little") != ogg_checksum(page) or number != following.get(serial, number):
            return "a page in it is damaged or missing"
        following[serial] = number + 1
        ended = bool(page[5] & 4)
    return None if ended else "its last page is missing"


def ogg_pages(file: BinaryIO) -> Iterator[bytes]:
    """Whole pages from where the file stands, up to what is none."""
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        lengths = file.read(head[26])
        content = file.read(sum(lengths))
        if len(lengths) < head[26] or len(content) < sum(lengths):
            return
        yield head + lengths + content


def ogg_checksum(page: bytes) -> int:
    """Ogg's CRC takes a byte's highest bit first, zlib's the lowest, and starts from 0 instead of ones; the polynomial is the same."""
    bare = page[:22] + bytes(4) + page[26:]
    reflected = zlib.crc32(bare.translate(_REFLECTED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def mp4_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """(name, where it ends) of boxes; a size of 0 means up to the end, 1 that 64 bits follow (ISO 14496-12, section 4.2).

    After one whose size cannot be, which ends at 0, there is none.
    """
    position = 0
    for _ in range(MAX_FRAMES):
        if position + 8 > size:
            return
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        position = size if length == 0 else position + length if length >= 8 else 0
        yield head[4:8], position
        if not position:
            return


def _mp4(file: BinaryIO, size: int) -> str | None:
    end, seen = 0, set[bytes]()
    for name, after in mp4_boxes(file, size):
        if {b"moov", b"mdat"} <= seen and end <= size and (name[:3] == b"TAG" or not all(32 <= byte < 127 for byte in name)):
            return None  # an ID3v1 tag or other bytes that somebody appended
        seen.add(name)
        end = after
        if not end:
            return "a box in it has an impossible size"
    return _short(end, size)


def _matroska(file: BinaryIO, size: int) -> str | None:
    """The header element, then the segment with everything in it, whose size may be unknown (RFC 8794, section 6)."""
    position = 0
    for id_length in (4, 4):
        file.seek(position + id_length)
        head = file.read(8)
        width = 9 - head[0].bit_length() if head and head[0] else 9
        if len(head) < width:
            return "it ends within its header"
        length = int.from_bytes(head[:width], "big") & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:
            return None
        position += id_length + width + length
    return _short(position, size)


def _mp3(start: int, head: bytes, size: int) -> str | None:
    """The byte count in the Xing or Info tag of the first frame, where there is one."""
    tag = length_tag(head)
    return _short(start + tag.size, size) if tag and tag.name != b"VBRI" else None
