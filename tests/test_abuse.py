"""Broken and odd files by the hundred: each gives its stems in full, or one clear line and no file at all."""

import io
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioFormat, Job, SeparateError, Separator
from separate.audio import AudioReader
from separate.files import separate_file
from tests.conftest import RATE, sound
from tests.test_audio import av_write

FORMATS = ("wav16", "wav24", "wavfloat", "flac", "ogg", "mp3", "aiff", "m4a", "webm", "opus")
MEGABYTES = 300  # more than that on top of what the process had would follow from what a header claims


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One second of sound in every format."""
    folder, wave, files = tmp_path_factory.mktemp("originals"), sound(1.0), {}
    for name in FORMATS:
        path = folder / f"a.{name[:3] if name.startswith('wav') else name}"
        if name in ("m4a", "webm", "opus"):
            rate = RATE if name == "m4a" else 48000
            options = {"movflags": "faststart"} if name == "m4a" else {}
            av_write(path, sound(1.0, rate=rate), "aac" if name == "m4a" else "libopus", rate, **options)
        else:
            subtype = {"wav16": "PCM_16", "wav24": "PCM_24", "wavfloat": "FLOAT"}.get(name)
            with soundfile.SoundFile(path, "w", RATE, 2, subtype) as file:
                for start in range(0, len(wave), 4096):
                    file.write(wave[start : start + 4096])
        files[name] = path.read_bytes()
    return files


def survive(separator: Separator, path: Path, out: Path) -> bool:
    """Separate a file under suspicion; True if its stems came out, False if it was refused. Anything else fails the test."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = Job(out, form=AudioFormat("wav", "float"))
    try:
        result = separate_file(separator, path, job, "track")
    except SeparateError as error:
        assert str(error) and "Traceback" not in str(error)
        assert not [file for file in out.rglob("*") if file.is_file()]
        refused = True
    else:
        refused = False
        reader = AudioReader(path)
        length = sum(len(block) for block in reader.blocks())
        for file in result.files.values():
            info = soundfile.info(file)
            assert (info.frames, info.samplerate, info.channels) == (length, reader.rate, reader.channels)
            assert np.isfinite(soundfile.read(file)[0]).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    return not refused


@pytest.mark.parametrize("percent", range(0, 100, 5))
@pytest.mark.parametrize("name", FORMATS)
def test_cut_anywhere(separator: Separator, originals: dict[str, bytes], tmp_path: Path, name: str, percent: int) -> None:
    data = originals[name]
    path = tmp_path / "song.bin"
    path.write_bytes(data[: len(data) * percent // 100])
    assert not survive(separator, path, tmp_path / "out")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", FORMATS)
def test_bytes_flipped(separator: Separator, originals: dict[str, bytes], tmp_path: Path, name: str, seed: int) -> None:
    """Half of the seeds hit the first 200 bytes, where headers are."""
    rng, data = np.random.default_rng(seed), bytearray(originals[name])
    for place in rng.integers(0, min(200, len(data)) if seed % 2 else len(data), 1 + seed % 4):
        data[place] ^= int(rng.integers(1, 256))
    (tmp_path / "song.bin").write_bytes(data)
    survive(separator, tmp_path / "song.bin", tmp_path / "out")


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_rate_and_sample_format(separator: Separator, tmp_path: Path, rate: int, subtype: str, channels: int) -> None:
    soundfile.write(tmp_path / "a.wav", sound(0.1, channels, rate), rate, subtype)
    assert survive(separator, tmp_path / "a.wav", tmp_path / "out") == (channels <= 2)


def signals() -> Iterator[tuple[str, np.ndarray, bool]]:
    count = 3000
    square = np.sign(np.sin(np.arange(count) / 20))
    yield "silence", np.zeros(count), True
    yield "dc", np.ones(count), True
    yield "full-scale square", square, True
    yield "far beyond full scale", 1e6 * square, True
    yield "denormals", np.full(count, 1e-42), True
    yield "one sample", np.ones(1), True
    yield "one impulse", np.eye(1, count, 1500)[0], True
    yield "nothing", np.zeros(0), False
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus inf", -np.inf)):
        for place in (0, 1500, count - 1):
            wave = square.copy()
            wave[place] = value
            yield f"{name} at {place}", wave, False


@pytest.mark.parametrize("name, wave, good", signals(), ids=[name for name, _, _ in signals()])
def test_odd_signals(separator: Separator, tmp_path: Path, name: str, wave: np.ndarray, good: bool) -> None:
    soundfile.write(tmp_path / "a.wav", wave.astype(np.float32), RATE, "FLOAT")
    assert survive(separator, tmp_path / "a.wav", tmp_path / "out") == good


@pytest.mark.parametrize(
    "field, claims", [("data", (1, 3, 2**20, 2**31, 2**32 - 8)), ("riff", (0, 7, 2**31, 2**32 - 1)), ("rate", (0, 1, 2**31))]
)
def test_wav_headers_that_lie(separator: Separator, tmp_path: Path, field: str, claims: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(0.2), RATE, "PCM_16", format="WAV")
    for claim in claims:
        data = bytearray(buffer.getvalue())
        struct.pack_into("<I", data, {"riff": 4, "rate": 24, "data": 40}[field], claim)
        (tmp_path / "a.wav").write_bytes(data)
        assert survive(separator, tmp_path / "a.wav", tmp_path / f"out{claim}") == (field == "riff")  # nobody needs that one


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "m4a", "txt"])
def test_names_say_nothing(separator: Separator, originals: dict[str, bytes], tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / f"song.{suffix}").write_bytes(originals[name])
    assert survive(separator, tmp_path / f"song.{suffix}", tmp_path / "out")


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_music(separator: Separator, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    magic = [
        b"",
        b"RIFF",
        b"fLaC",
        b"OggS",
        b"ID3\x03",
        b"\xff\xfb\x90\x00",
        b"FORM",
        b"\x00\x00\x00\x20ftypM4A ",
        b"\x1a\x45\xdf\xa3",
        b"RF64",
    ]
    (tmp_path / "song").write_bytes(magic[seed % len(magic)] + rng.bytes(int(rng.integers(1, 5000))))
    assert not survive(separator, tmp_path / "song", tmp_path / "out")


def test_odd_places(separator: Separator, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.wav")
    for name in ("song.mp3", "loop", "dangling.wav", "pipe.wav", "no such file"):
        assert not survive(separator, tmp_path / name, tmp_path / "out")
