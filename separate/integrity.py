"""Is a file all there? Containers that say how long they are, held against the bytes on disk.

libsndfile and FFmpeg play a truncated wav, mp3, ogg, mp4 or webm to where it ends and report success; these checks tell the difference.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

HEAD = 1 << 16  # bytes looked at after leading tags
UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what programs write that stream to a pipe


def truncation(path: Path) -> str | None:
    """What is missing from a wav, aiff, mp3, ogg, mp4 or webm file, in words; None if nothing is, or for formats that do not tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(12)
        if magic[:4] in (b"RIFF", b"RF64") and magic[8:] == b"WAVE":
            return _riff(file, size)
        if magic[:4] == b"FORM":
            return _short(int.from_bytes(magic[4:8], "big") + 8, size)
        if magic[:4] == b"OggS":
            return _ogg(file, size)
        if magic[4:8] == b"ftyp":
            return _mp4(file, size)
        if magic[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska(file, size)
        start = _id3_size(magic)
        file.seek(start)
        head = file.read(HEAD)
        return _mp3(head, size - start) if magic[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0) else None


def _short(declared: int, size: int) -> str | None:
    return f"{declared - size} of {declared} bytes are missing" if declared > size else None


def _riff(file: BinaryIO, size: int) -> str | None:
    """The data chunk's length, which RF64 keeps in a chunk before it (EBU Tech 3306); the last chunk may lack its padding byte."""
    position, long = 12, None
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"ds64" and len(head := file.read(16)) == 16:
            long = int.from_bytes(head[8:], "little")
        if name == b"data":
            length = long if long is not None and length == 0xFFFFFFFF else length
            return None if length in UNKNOWN_SIZES else _short(position + 8 + length, size)
        position += 8 + length + length % 2
    return "its data chunk is missing"


def _ogg(file: BinaryIO, size: int) -> str | None:
    """The last page must be complete and carry the end-of-stream flag (RFC 3533, section 6)."""
    file.seek(max(0, size - HEAD - 300))  # a page is 65307 bytes at most
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27 + (tail[page + 26] if len(tail) > page + 26 else 0):
        return "its last page is cut off"
    segments = tail[page + 27 : page + 27 + tail[page + 26]]
    if len(tail) < page + 27 + len(segments) + sum(segments) or not tail[page + 5] & 4:
        return "its last page is missing"
    return None


def _mp4(file: BinaryIO, size: int) -> str | None:
    """Boxes follow one another; a size of 0 means up to the end, 1 that 64 bits follow (ISO 14496-12, section 4.2)."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length == 0:
            return None
        if length < 8:
            return "a box in it has an impossible size"
        position += length
    return _short(position, size)


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


def _id3_size(magic: bytes) -> int:
    """Length of a leading ID3v2 tag (its sizes hold seven bits a byte)."""
    if magic[:3] != b"ID3" or len(magic) < 10:
        return 0
    a, b, c, d = magic[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def _mp3(head: bytes, size: int) -> str | None:
    """The byte count in the Xing or Info tag of the first frame, where there is one."""
    for name in (b"Xing", b"Info"):
        tag = head.find(name, 0, 4096)
        if tag >= 0 and len(head) >= tag + 16:
            flags = int.from_bytes(head[tag + 4 : tag + 8], "big")
            place = tag + 8 + (4 if flags & 1 else 0)
            if flags & 2:
                frame = max(head.rfind(b"\xff\xfb", 0, tag), head.rfind(b"\xff\xf3", 0, tag), 0)
                return _short(frame + int.from_bytes(head[place : place + 4], "big"), size)
    return None
