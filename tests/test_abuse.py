"""Broken and odd files by the hundred: each gives its stems in full, or one clear line and no file at all."""

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError, AudioFormat, Job, SeparateError, Separator
from separate.files import separate_file
from tests.conftest import RATE, sound
from tests.limits import at_most
from tests.test_audio import av_write

SOUNDFILE = {
    **{"wav16": ("WAV", "PCM_16"), "wav24": ("WAV", "PCM_24"), "wavfloat": ("WAV", "FLOAT"), "rf64": ("RF64", "PCM_16")},
    **{"w64": ("W64", "PCM_16"), "caf": ("CAF", "PCM_16"), "au": ("AU", "PCM_16"), "aiff": ("AIFF", "PCM_16")},
    **{"flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")},
}
FFMPEG = {"m4a": "aac", "m4a-end": "aac", "aac": "aac", "webm": "libopus", "opus": "libopus"}  # m4a-end: its index comes last
FORMATS = (*SOUNDFILE, *FFMPEG)
LOSSY = ("mp3", "m4a", "m4a-end", "aac", "webm")  # the rest come out to the sample, or not at all
SECONDS, MEGABYTES = 30, 300  # a case that takes longer hangs; more memory would follow from what a header claims


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One second of sound in every format."""
    folder, wave, files = tmp_path_factory.mktemp("originals"), sound(1.0), {}
    for name, (container, subtype) in SOUNDFILE.items():
        with soundfile.SoundFile(folder / name, "w", RATE, 2, subtype, format=container) as file:
            for start in range(0, len(wave), 4096):
                file.write(wave[start : start + 4096])
        files[name] = (folder / name).read_bytes()
    for name, codec in FFMPEG.items():
        options = {"movflags": "faststart"} if name == "m4a" else {}
        path = folder / f"a.{name.removesuffix('-end')}"
        files[name] = av_write(path, sound(1.0, rate=samples(name)), codec, samples(name), **options).read_bytes()
    return files


def samples(name: str) -> int:
    """How long a second of sound in this format is, known from how it was made: Opus has only 48 kHz."""
    return 48000 if name in ("webm", "opus") else RATE


def survive(separator: Separator, path: Path, out: Path, length: int | None = None, slack: int = 0) -> bool:
    """Separate a file under suspicion; True if its stems came out, `length` samples long, False if it was refused with nothing written.

    Anything else, a hang or memory out of proportion among it, fails the test.
    """
    job = Job(out, form=AudioFormat("wav", "float"))
    with at_most(SECONDS, MEGABYTES):
        try:
            result = separate_file(separator, path, job, "track")
        except SeparateError as error:
            assert str(error) and "Traceback" not in str(error)
            assert not [file for file in out.rglob("*") if file.is_file()]
            return False
    stems = [soundfile.read(file, always_2d=True)[0] for file in result.files.values()]
    assert len(stems) == 2 and len({stem.shape for stem in stems}) == 1
    assert all(np.isfinite(stem).all() for stem in stems)
    assert length is None or abs(len(stems[0]) - length) <= slack
    return True


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
    """Half of the seeds hit the first 200 bytes, where headers are. What comes out has the length of what went in.

    Lossy formats may lose the quarter of a second that the reader allows, or gain their encoder's padding.
    """
    rng, data = np.random.default_rng(seed), bytearray(originals[name])
    for place in rng.integers(0, min(200, len(data)) if seed % 2 else len(data), 1 + seed % 4):
        data[place] ^= int(rng.integers(1, 256))
    (tmp_path / "song.bin").write_bytes(data)
    survive(separator, tmp_path / "song.bin", tmp_path / "out", samples(name), samples(name) // 4 if name in LOSSY else 0)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_rate_and_sample_format(separator: Separator, tmp_path: Path, rate: int, subtype: str, channels: int) -> None:
    soundfile.write(tmp_path / "a.wav", sound(0.1, channels, rate), rate, subtype)
    assert survive(separator, tmp_path / "a.wav", tmp_path / "out", rate // 10) == (channels <= 2)


def signals() -> Iterator[tuple[str, np.ndarray, bool]]:
    count = 3000
    square = np.sign(np.sin(np.arange(count) / 20))
    yield "silence", np.zeros(count), True
    yield "dc", np.ones(count), True
    yield "full-scale square", square, True
    yield "far beyond full scale", 1e6 * square, True
    yield "so far that it overflows", 3e38 * square, False
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
    assert survive(separator, tmp_path / "a.wav", tmp_path / "out", len(wave)) == good


@pytest.mark.parametrize(
    "field, claims",
    [("data", (1, 3, 4, 4096, 8820, 17640, 35276, 2**20, 2**30, 2**32 - 8)), ("riff", (0, 7, 2**31, 2**32 - 1)), ("rate", (0, 1, 2**31))],
)
def test_wav_headers_that_lie(separator: Separator, tmp_path: Path, field: str, claims: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(0.2), RATE, "PCM_16", format="WAV")
    for claim in claims:
        data = bytearray(buffer.getvalue())
        struct.pack_into("<I", data, {"riff": 4, "rate": 24, "data": 40}[field], claim)
        (tmp_path / "a.wav").write_bytes(data)
        # Nobody needs the length of the whole.
        assert survive(separator, tmp_path / "a.wav", tmp_path / f"out{claim}", RATE // 5) == (field == "riff")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "m4a", "txt"])
def test_names_say_nothing(separator: Separator, originals: dict[str, bytes], tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / f"song.{suffix}").write_bytes(originals[name])
    assert survive(separator, tmp_path / f"song.{suffix}", tmp_path / "out", samples(name), 2048 if name == "aac" else 0)


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


@pytest.mark.parametrize("seed", range(20))
def test_a_page_of_an_ogg_that_is_damaged_or_lost_is_noticed(
    separator: Separator, originals: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    """Decoders leave it out without a word."""
    pages = [b"OggS" + page for page in originals["ogg" if seed % 2 else "opus"].split(b"OggS")[1:]]
    victim = seed // 2 % len(pages)
    pages[victim] = b"" if seed < 10 else pages[victim][:-1] + bytes([pages[victim][-1] ^ 1])
    (tmp_path / "a.ogg").write_bytes(b"".join(pages))
    assert not survive(separator, tmp_path / "a.ogg", tmp_path / "out")


@pytest.mark.parametrize(
    "head", [b"RIFF\xff\xff\xff\xffWAVE", b"caff\0\1\0\0", b"OggS", b"fLaC", b"\xff\xf1", b"\xff\xfb\x90\x00", b"\0\0\0\x08ftyp", b""]
)
def test_ten_gigabytes_of_nothing_are_refused_at_once(separator: Separator, tmp_path: Path, head: bytes) -> None:
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(head)
        file.truncate(10 << 30)
    with at_most(5, 50), pytest.raises(AudioError):
        separate_file(separator, tmp_path / "a.wav", Job(tmp_path / "out"))


def test_odd_places(separator: Separator, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.wav")
    for name in ("song.mp3", "loop", "dangling.wav", "pipe.wav", "no such file"):
        assert not survive(separator, tmp_path / name, tmp_path / "out")
