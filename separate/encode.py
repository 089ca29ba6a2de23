"""Waveforms to files: encoded under temporary names beside their targets; all get their final names once all are complete, or none does."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from separate.audio import TAGS, Block
from separate.errors import AudioError
from separate.integrity import truncation
from separate.repeatable import make_repeatable

SUBTYPES = {
    "wav": {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"},
    "flac": {"16": "PCM_16", "24": "PCM_24"},
    "mp3": {"": "MPEG_LAYER_III"},
    "ogg": {"": "VORBIS"},
}
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OGG_PIECE = 1 << 12  # samples: libsndfile's Vorbis encoder puts a whole write on the stack
RF64_BYTES = (1 << 32) - (1 << 20)  # a RIFF file's limit, less its header and tags


@dataclass(frozen=True)
class AudioFormat:
    """A file format and sample format. subtype: 16, 24 or float (wav), 16 or 24 (flac); None means 16, or nothing to choose."""

    name: str = "wav"
    subtype: str | None = None

    def __post_init__(self) -> None:
        if self.name not in SUBTYPES:
            raise AudioError(f"there is no output format {self.name!r}; choose from {', '.join(SUBTYPES)}")
        if self.subtype is not None and self.subtype not in SUBTYPES[self.name]:
            choices = ", ".join(choice for choice in SUBTYPES[self.name] if choice)
            raise AudioError(f"{self.name} has no subtype {self.subtype!r}; {'choose from ' + choices if choices else 'it has none'}")

    @property
    def encoding(self) -> str:
        """soundfile's name of the sample format."""
        choices = SUBTYPES[self.name]
        return choices[self.subtype] if self.subtype else next(iter(choices.values()))

    @property
    def limited(self) -> bool:
        """Whether samples beyond full scale would be clipped."""
        return self.encoding != "FLOAT"

    def check(self, rate: int) -> None:
        """Raise AudioError if the format cannot hold audio of this rate."""
        if self.name == "mp3" and rate not in MP3_RATES:
            raise AudioError(f"mp3 cannot hold {rate} Hz; choose wav or flac")
        if self.name == "flac" and rate > 65535 and rate % 10:
            raise AudioError(f"flac cannot hold {rate} Hz, above 65535 Hz only multiples of 10; choose wav")


class AudioWriter:
    """Writes blocks to a temporary file beside `path`, which `publish` gives its name; without that it is gone when the `with` block ends.

    samples: length that is going to be written, in samples a channel (decides RIFF or RF64). Raises AudioError where the folder or the
    disk refuse, and on samples beyond full scale in a format that would clip them. Same blocks, same bytes.
    """

    def __init__(
        self, path: Path, rate: int, channels: int, form: AudioFormat, samples: int = 0, tags: Mapping[str, str] | None = None
    ) -> None:
        form.check(rate)
        self.path, self._form, self._written = path, form, 0
        width = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}.get(form.encoding, 0)
        container = "RF64" if form.name == "wav" and samples * channels * width > RF64_BYTES else form.name.upper()
        self.temporary = temporary_beside(path)
        with ExitStack() as undo:
            undo.callback(self.temporary.unlink, missing_ok=True)
            try:
                self._raw = undo.enter_context(self.temporary.open("r+b"))  # soundfile takes no names that are not UTF-8, so by descriptor
                self._file = soundfile.SoundFile(self._raw.fileno(), "w", rate, channels, form.encoding, format=container, closefd=False)
                for name, value in (tags or {}).items():
                    if name in TAGS:
                        setattr(self._file, name, value)
            except (soundfile.SoundFileError, OSError) as error:
                raise AudioError(f"{path}: cannot be written ({error})") from error
            undo.pop_all()

    def write(self, block: Block) -> None:
        """Append float32 [samples, channels]."""
        if self._form.limited and float(np.abs(block).max(initial=0)) > 1.0 + 1e-6:
            raise AudioError(f"{self.path}: samples beyond full scale would be clipped")
        step = OGG_PIECE if self._form.name == "ogg" else max(1, len(block))
        try:
            for start in range(0, len(block), step):
                self._file.write(block[start : start + step])
        except (soundfile.SoundFileError, OSError, AssertionError) as error:  # soundfile asserts that all was written
            raise AudioError(f"{self.path}: cannot be written, is the disk full? ({error})") from error
        self._written += len(block)

    def close(self) -> None:
        """Finish the temporary file, and see whether all is there: libsndfile does not report a disk that fills up while it closes."""
        try:
            self._file.close()
            self._raw.close()
            make_repeatable(self.temporary)
            with self.temporary.open("r+b") as raw, soundfile.SoundFile(raw.fileno(), closefd=False) as file:
                os.fsync(raw.fileno())  # or a power loss after the renaming may leave an empty file under the final name
                file.seek(max(0, file.frames - 1))
                whole = file.frames == self._written and len(file.read(1)) == min(1, file.frames)
            if not whole or truncation(self.temporary):
                raise AudioError(f"{self.path}: cannot be written, is the disk full?")
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(f"{self.path}: cannot be written, is the disk full? ({error})") from error

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(soundfile.SoundFileError, OSError):
            self._file.close()
        self._raw.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)


def publish(writers: Sequence[AudioWriter], existing: str = "refuse") -> list[Path]:
    """Close all files, then give all their final names: if one cannot have its name, what was there before is there again.

    existing: what is done where a name is taken by now: "refuse" is an error, "overwrite" replaces what is there, "skip" leaves it, as
    another process may have made the same song meanwhile. Returns the names given. Raises AudioError.
    """
    for writer in writers:
        writer.close()
    placed: list[tuple[AudioWriter, Path | None]] = []
    current = writers[0].path if writers else None
    try:
        for writer in writers:
            current = writer.path
            placed.append((writer, _keep(writer.path) if existing == "overwrite" else None))
            if existing == "overwrite":
                writer.temporary.replace(writer.path)
                continue
            try:
                _create(writer.temporary, writer.path)
            except FileExistsError:
                if existing != "skip":
                    raise
                placed.pop()
    except BaseException as error:
        for writer, old in reversed(placed):
            with suppress(OSError):
                _take_back(writer, old)
        if isinstance(error, FileExistsError):
            raise AudioError(f"{current}: exists already; choose to overwrite or to skip") from error
        if isinstance(error, OSError):
            raise AudioError(f"{current}: cannot be written ({error.strerror})") from error
        raise
    for _, old in placed:
        if old is not None:
            with suppress(OSError):
                old.unlink()
    return [writer.path for writer, _ in placed]


def _create(temporary: Path, path: Path) -> None:
    """Name a file, without a moment in which another of that name would be replaced. Raises FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system: an empty file holds the name
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise


def _keep(path: Path) -> Path | None:
    """A second, hidden name for what is at `path`; None if nothing is."""
    if not os.path.lexists(path):
        return None
    if path.is_dir():
        raise AudioError(f"{path}: cannot be written, it is a folder")
    old = temporary_beside(path)
    old.unlink()
    try:
        os.link(path, old)
    except OSError:
        path.replace(old)
    return old


def _take_back(writer: AudioWriter, old: Path | None) -> None:
    if old is not None:
        old.replace(writer.path)
        old.unlink(missing_ok=True)  # of two names of one file, neither is taken away by replacing
    elif not writer.temporary.exists() or writer.temporary.samefile(writer.path):  # so the name is ours
        writer.path.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder that is to be written into. Raises AudioError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise AudioError(f"{folder}: cannot be written, there is a file of this name and no folder") from error
    except OSError as error:
        raise AudioError(f"{folder}: cannot be written ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AudioError(f"{folder}: cannot be written (no permission)")


def temporary_beside(path: Path) -> Path:
    """A fresh hidden file in the folder of `path`. Raises AudioError if that fails."""
    make_folder(path.parent)
    temporary = path.with_name(f".separate-{secrets.token_hex(8)}.part")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error.strerror})") from error
    return temporary
