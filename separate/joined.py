"""Does a file hold several recordings one after another, as `cat a.mp3 b.mp3` makes it and as chained Ogg may?

libsndfile and FFmpeg play the first and report success, or put sound between two of them that is in neither (576 samples of Vorbis), so
such a file is refused. What makes one stream all the same is not: aac, webm, and mp3s with no tag of any kind are read to the end.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from separate.integrity import MAX_CHUNKS, W64, caf_chunks, mp4_boxes, ogg_pages
from separate.mpeg import first_frame, frame_length, frames, length_tag

SPARE = 9  # frames, a quarter of a second, that an mp3 may have beyond what its tag says: encoders differ over what counts
PIECE = 1 << 20  # bytes searched at a time
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the marker, and the header of the 34 bytes that must follow (RFC 9639, section 8)


def joined(path: Path) -> bool:
    """Whether another recording follows the first in an mp3, ogg, flac, wav, aiff, caf, w64 or mp4 file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start, head = first_frame(file)
        if head[:4] == b"fLaC":
            return _flac(file, start)
        if start or frame_length(head):
            return _mp3(file, start)
        if head[:4] == b"OggS":
            return _ogg(file)
        if head[4:8] == b"ftyp":
            return sum(name == b"moov" for name, _ in mp4_boxes(file, size)) > 1
        if head[:4] == b"caff":
            return any(name == b"data" and _again(file, b"caff", end) for name, end in caf_chunks(file, size))
        if head[:4] in (b"RIFF", b"FORM"):
            length = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
            return _again(file, head[:4], 8 + length + length % 2)
        return head[:16] == W64 and _again(file, W64, int.from_bytes(head[16:24], "little"))


def _again(file: BinaryIO, magic: bytes, position: int) -> bool:
    file.seek(min(position, 1 << 62))
    return file.read(len(magic)) == magic


def _mp3(file: BinaryIO, start: int) -> bool:
    """Frames after a tag of any kind, or more of them than the length tag in the first tells of."""
    told = 0
    for count, (head, tagged) in enumerate(frames(file, start)):
        tag = length_tag(head)
        if count and (tagged or tag or 0 < told < count - SPARE):
            return True
        told = tag.frames if tag else told
    return False


def _flac(file: BinaryIO, start: int) -> bool:
    """A second marker in what is not metadata."""
    position = start + 4
    for block in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(4)
        if len(head) < 4 or (head[0] & 0x7F == 0) != (block == 0):
            return False
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    file.seek(position)
    kept = b""
    while piece := file.read(PIECE):
        if _FLAC.search(kept + piece):
            return True
        kept = piece[-7:]
    return False


def _ogg(file: BinaryIO) -> bool:
    """A page that begins a stream after one that does not: streams that sound together begin together (RFC 3533, section 4)."""
    file.seek(0)
    within = False
    for page in ogg_pages(file):
        if within and page[5] & 2:
            return True
        within = not page[5] & 2
    return False
