"""How long files say they are, where that is a guess, unknown, or another stream's."""

import struct
from pathlib import Path

import pytest
import soundfile

from separate import AudioError
from tests.conftest import RATE, sound
from tests.test_audio import read


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
