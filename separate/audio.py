"""Files to waveforms, block by block, and streaming resampling.

wav, flac, ogg, opus, mp3, aiff and their like are read through soundfile; m4a, aac, mp4, webm, wma and their like through PyAV, whose
wheel has FFmpeg inside, and so are mp3s that do not tell how long they are. What a file is decides its content, not its name; nothing in
it can have another file opened. Blocks are float32 [samples, channels], full scale 1.0.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from separate.errors import AudioError
from separate.integrity import truncation
from separate.joined import joined
from separate.mpeg import LengthTag, first_frame, frame_length, length_tag

Block = NDArray[np.float32]
BLOCK = 1 << 16  # samples read at a time
RATES = (8_000, 192_000)  # Hz
# Containers that are sought to the very sample if they hold plain samples; all else is decoded from its start.
SEEKABLE = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "W64", "CAF", "AU"}
PLAIN = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright")
# FFmpeg's containers that hold sound themselves: none of its playlists, which name other files and addresses.
CONTAINERS = "mov,matroska,aac,ogg,asf,ape,wv,mp3,flac,wav,w64,aiff,caf,au"
# Of these, libsndfile tells only how long they are at most: by so many samples, one codec block, they may be shorter.
BLOCK_SAMPLES = {"VORBIS": 8192, "OPUS": 8192, "MPEG_LAYER_I": 1152, "MPEG_LAYER_II": 1152, "MPEG_LAYER_III": 1152}
_BEHIND = 10  # frames of an mp3, a quarter of a second
_SHORT_FRAMES = 4096  # the longest codec frame that padding at the end may amount to, in samples


class AudioReader:
    """An audio file as a stream of blocks.

    start, duration: seconds, to read a part. Attributes: rate (Hz), channels (1 or 2), samples (expected number, None if the file
    does not tell), tags. Raises AudioError, now or while reading, if the file is not there, not audio, truncated, damaged, empty,
    several recordings one after another, has more than two channels, a rate outside 8 to 192 kHz, or samples that are not finite, or if
    it is changed before it is read.
    """

    rate: int
    channels: int
    samples: int | None
    tags: dict[str, str]

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None) -> None:
        if not 0 <= start < math.inf or not (duration is None or 0 < duration < math.inf):
            raise AudioError("start must be 0 s or later, duration longer than 0 s, and both finite")
        self.path = path
        try:
            if path.is_dir():
                raise AudioError(f"{path}: is a folder")
            if path.exists() and not path.is_file():
                raise AudioError(f"{path}: is not a file")
            self._state = _state(path)
            if path.stat().st_size == 0:
                raise AudioError(f"{path}: is empty")
            if joined(path):
                raise AudioError(f"{path}: holds several recordings one after another; they can be separated one by one")
            if missing := truncation(path):
                raise AudioError(f"{path}: is truncated, {missing}")
            self._tag = _length_tag(path)
        except OSError as error:
            raise AudioError(f"{path}: {error.strerror or error}") from error
        self._opened_by_av = self._seekable = False
        if not self._open_soundfile():
            self._open_av()
        if not 1 <= self.channels <= 2:
            raise AudioError(f"{path}: has {self.channels} channels; mono and stereo can be separated")
        if not RATES[0] <= self.rate <= RATES[1]:
            raise AudioError(f"{path}: has a rate of {self.rate} Hz; {RATES[0]} to {RATES[1]} Hz can be read")
        self._first = round(start * self.rate)
        self._last = math.inf if duration is None else self._first + max(1, round(duration * self.rate))
        if self.samples is not None:
            self.samples = int(max(0, min(self.samples, self._last) - self._first))

    def blocks(self) -> Iterator[Block]:
        """The wanted part from start to end. May be called again, to read again."""
        position, delivered = self._first if self._seekable else 0, 0
        try:
            for block in self._av_blocks() if self._opened_by_av else self._soundfile_blocks():
                here = block[max(0, self._first - position) : int(min(len(block), max(0, self._last - position)))]
                if len(here):
                    if not np.isfinite(here).all():
                        second = (position + int(np.argmin(np.isfinite(block).all(1)))) / self.rate
                        raise AudioError(f"{self.path}: holds samples that are not numbers (NaN or infinite) at {second:.3f} s")
                    delivered += len(here)
                    yield np.ascontiguousarray(here)
                position += len(block)
                if position >= self._last:
                    break
            self._check_unchanged()
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(f"{self.path}: is damaged at {position / self.rate:.1f} s ({error})") from error
        if not position:
            raise AudioError(f"{self.path}: holds no audio")
        if not delivered:
            end = min(position, self._declared) if self._seekable else position
            raise AudioError(f"{self.path}: ends at {end / self.rate:.1f} s, before the start that was asked for")

    def _open_soundfile(self) -> bool:
        """False if libsndfile cannot read it, or not to its end: that of an mp3 it guesses, a piped flac, of unknown length, it seeks."""
        # By its descriptor: of a name, soundfile and libsndfile would take the ending for a format, and "-" for standard input.
        try:
            with self.path.open("rb") as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
                if file.format == "MP3" and not (self._tag and self._tag.frames and self._tag.name != b"VBRI"):
                    return False
                if file.format == "FLAC" and not 0 < file.frames < 2**62:
                    return False
                self.rate, self.channels = file.samplerate, file.channels
                self._exact = file.frames < 2**62  # a piped wav does not say how long it is
                self.samples = file.frames if self._exact else None
                self._declared, self._slack = file.frames, BLOCK_SAMPLES.get(file.subtype, 1)
                self._seekable = self._exact and file.format in SEEKABLE and file.subtype in PLAIN
                metadata = file.copy_metadata()
        except soundfile.LibsndfileError:
            return False
        self.tags = {name: metadata[name] for name in TAGS if metadata.get(name)}
        return True

    def _soundfile_blocks(self) -> Iterator[Block]:
        with self.path.open("rb") as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
            decoded = file.seek(min(self._first, self._declared)) if self._seekable else 0
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                decoded += len(block)
                yield block
        if self._exact and decoded <= self._declared - self._slack:
            raise AudioError(f"{self.path}: is truncated, it ends at {decoded / self.rate:.1f} of {self._declared / self.rate:.1f} s")

    def _open_av(self) -> None:
        import av

        self._opened_by_av = True
        try:
            with self._container() as container:
                stream = self._audio(container)
                self.rate, self.channels = stream.rate or 0, stream.channels
                roughly = container.format.name == "mp3" and not (self._tag and self._tag.frames)
                self._seconds = None if roughly else _seconds(container, stream)
                exact = stream.duration is not None and stream.time_base is not None and stream.time_base * self.rate == 1
                self._length = int(stream.duration or 0) if exact else None
                found = {**container.metadata, **stream.metadata}
        except (av.error.FFmpegError, OSError) as error:
            raise AudioError(f"{self.path}: is not an audio file that can be read, or is damaged") from error
        self.samples = self._length or (round(self._seconds * self.rate) if self._seconds else None)
        lower = {key.lower(): value for key, value in found.items()}
        lower.setdefault("tracknumber", lower.get("track", ""))  # FFmpeg's name for it
        self.tags = {name: lower[name] for name in TAGS if lower.get(name)}

    def _container(self) -> Any:
        """The file opened by FFmpeg: as a file whatever its name looks like, and in none of the formats that lead to other files."""
        import av

        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        return av.open("file:" + os.path.abspath(self.path), metadata_errors="replace", options=options)  # noqa: PTH100

    def _audio(self, container: Any) -> Any:
        if not container.streams.audio:
            raise AudioError(f"{self.path}: holds no audio")
        if container.streams.audio[0].codec_context is None:
            raise AudioError(f"{self.path}: holds audio that nothing here can decode, or is damaged")
        return container.streams.audio[0]

    def _av_blocks(self) -> Iterator[Block]:
        import av

        decoded, ended = 0, False
        try:
            with self._container() as container:
                stream = self._audio(container)
                resampler = av.AudioResampler(format="fltp")
                for frame in _frames(container, stream):
                    if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
                        raise AudioError(f"{self.path}: changes its rate or channels at {decoded / self.rate:.1f} s")
                    for part in resampler.resample(frame):
                        block = part.to_ndarray().T
                        if ended and len(block):
                            raise AudioError(f"{self.path}: is longer than the {decoded / self.rate:.1f} s of its header")
                        if self._length and 0 <= self._length - decoded < len(block) <= _SHORT_FRAMES:
                            block, ended = block[: self._length - decoded], True  # the padding of the last frame
                        decoded += len(block)
                        yield np.ascontiguousarray(block, dtype=np.float32)
        except av.error.FFmpegError as error:
            raise AudioError(f"{self.path}: is damaged at {decoded / self.rate:.1f} s") from error
        if self._seconds and decoded < (self._seconds - 0.25) * self.rate:
            raise AudioError(f"{self.path}: is truncated, it ends at {decoded / self.rate:.1f} of {self._seconds:.1f} s")

    def _check_unchanged(self) -> None:
        try:
            unchanged = _state(self.path) == self._state
        except OSError:
            unchanged = False
        if not unchanged:
            raise AudioError(f"{self.path}: was changed or taken away while it was being read")


def _state(path: Path) -> tuple[int, ...]:
    """What differs once a file has been written to or replaced."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _length_tag(path: Path) -> LengthTag | None:
    with path.open("rb") as file:
        return length_tag(first_frame(file)[1])


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """What a stream decodes to, without the little that may follow an mp3's last frame and is none: zeros, a tag that FFmpeg does not know.

    Lyrics may be longer; all else is damage once it is as long as _BEHIND frames.
    """
    import av

    heard = count = behind = 0
    trouble: Exception | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            data = bytes(packet)
            if container.format.name != "mp3" or frame_length(data):
                raise
            behind += 0 if data.startswith(b"LYRICSBEGIN") else len(data)
            if behind * count >= _BEHIND * heard:
                raise
            trouble = error
            continue
        if trouble and frames:
            raise trouble
        heard, count = heard + packet.size, count + len(frames)
        yield from frames


def _seconds(container: Any, stream: Any) -> float | None:
    """How long a stream says it is: itself, in a Matroska tag (h:mm:ss) that holds its end, or as the only one of its container.

    None where FFmpeg has only an estimate: an asf tells how long its longest stream is, an aac nothing.
    """
    kind, alone = container.format.name, len(container.streams) == 1
    if kind == "aac" or (kind == "asf" and not alone):
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        return max(0.0, int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) - start)
    return max(0.0, container.duration / 1e6 - start) if container.duration and alone else None


class Resampler:
    """Streaming resampler (soxr, high quality, linear phase, no delay): float32 [samples, channels] in and out."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        same = rate_in == rate_out
        self._stream = None if same else soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")

    def push(self, block: Block, last: bool = False) -> Block:
        """What is ready after one more block."""
        return block if self._stream is None else np.asarray(self._stream.resample_chunk(np.ascontiguousarray(block), last=last))
