"""Same work, same bytes: takes out of a finished file what libsndfile makes different every time.

That is the time of writing in a float wav's PEAK chunk and the random serial number of an Ogg stream (RFC 3533, section 6).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from separate.integrity import ogg_checksum, ogg_pages, riff_chunks


def make_repeatable(path: Path) -> None:
    """Change a wav or Ogg file in place; others are repeatable as they are."""
    with path.open("r+b") as file:
        magic = file.read(4)
        file.seek(0)
        if magic in (b"RIFF", b"RF64"):
            _clear_peak_time(file, path.stat().st_size)
        if magic == b"OggS":
            _clear_serial(file)


def _clear_peak_time(file: BinaryIO, size: int) -> None:
    for name, start, _ in riff_chunks(file, 12, size):
        if name == b"PEAK":
            file.seek(start + 4)  # after the chunk's version
            file.write(bytes(4))
        if name in (b"PEAK", b"data"):
            return


def _clear_serial(file: BinaryIO) -> None:
    """Serial number 0, and the checksum that goes with it, on every page."""
    position = 0
    for page in ogg_pages(file):
        page = page[:14] + bytes(4) + page[18:]
        file.seek(position)
        file.write(page[:22] + ogg_checksum(page).to_bytes(4, "little") + page[26:])
        position += len(page)
        file.seek(position)
