"""Waveforms to files: encoded under a temporary name beside the target, moved to the final name when complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from separate.audio import TAGS, Block
from separate.errors import AudioError

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
            raise AudioError(f"{self.name} has {'subtypes ' + choices if choices else 'no subtypes'}, not {self.subtype!r}")

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


class AudioWriter:
    """Writes blocks to `path`; the file appears when the `with` block ends without an error, and not at all otherwise.

    samples: length that is going to be written, in samples a channel (decides RIFF or RF64). Raises AudioError where the folder or the
    disk refuse, and on samples beyond full scale in a format that would clip them.
    """

    def __init__(
        self, path: Path, rate: int, channels: int, form: AudioFormat, samples: int = 0, tags: Mapping[str, str] | None = None
    ) -> None:
        form.check(rate)
        self.path, self._form, self._written = path, form, 0
        width = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}.get(form.encoding, 0)
        container = "RF64" if form.name == "wav" and samples * channels * width > RF64_BYTES else form.name.upper()
        self._temporary = temporary_beside(path)
        try:
            self._file = soundfile.SoundFile(self._temporary, "w", rate, channels, form.encoding, format=container)
            for name, value in (tags or {}).items():
                if name in TAGS:
                    setattr(self._file, name, value)
        except (soundfile.SoundFileError, OSError) as error:
            self._temporary.unlink(missing_ok=True)
            raise AudioError(f"{path}: cannot be written ({error})") from error

    def write(self, block: Block) -> None:
        """Append float32 [samples, channels]."""
        if self._form.limited and float(np.abs(block).max(initial=0)) > 1.0 + 1e-6:
            raise AudioError(f"{self.path}: samples beyond full scale would be clipped")
        step = OGG_PIECE if self._form.name == "ogg" else max(1, len(block))
        try:
            for start in range(0, len(block), step):
                self._file.write(block[start : start + step])
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(f"{self.path}: cannot be written, is the disk full? ({error})") from error
        self._written += len(block)

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
            if kind is None:
                self._check_size()
                self._temporary.replace(self.path)
        except (soundfile.SoundFileError, OSError) as failure:
            raise AudioError(f"{self.path}: cannot be written ({failure})") from failure
        finally:
            self._temporary.unlink(missing_ok=True)

    def _check_size(self) -> None:
        """libsndfile does not report a disk that fills up while it closes a file: read back what the header says."""
        with soundfile.SoundFile(self._temporary) as file:
            if self._form.name in ("wav", "flac") and file.frames != self._written:
                raise AudioError(f"{self.path}: cannot be written, is the disk full?")


def make_folder(folder: Path) -> None:
    """Make a folder that is to be written into. Raises AudioError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"{folder}: cannot be written ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AudioError(f"{folder}: cannot be written (no permission)")


def temporary_beside(path: Path) -> Path:
    """A fresh hidden file in the folder of `path`. Raises AudioError if that fails."""
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=".separate-", suffix=".part", dir=path.parent)
        os.close(handle)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written ({error.strerror})") from error
    return Path(name)
