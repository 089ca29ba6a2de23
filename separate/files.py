"""From a file to its stems' files: decode, separate and store block by block, then encode all stems with one gain."""

from __future__ import annotations

import os
import string
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from separate.audio import BLOCK, AudioReader, Block
from separate.encode import AudioFormat, AudioWriter, make_folder, publish
from separate.errors import AudioError, NotFiniteError

if TYPE_CHECKING:
    from separate.separator import Hook, Separator

TEMPLATE = "{model}/{track}/{stem}.{ext}"
FIELDS = {"model", "track", "stem", "ext"}
EXISTING = ("refuse", "overwrite", "skip")
SUFFIXES = {
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
    *(".m4a", ".m4b", ".aac", ".mp4", ".webm", ".mka", ".mkv", ".mov", ".wma", ".ape", ".wv", ".alac", ".3gp"),
    *(".mp2", ".mpga", ".spx", ".m4r", ".m4v", ".weba", ".asf"),
}


@dataclass(frozen=True)
class Job:
    """How stems are written. stems: None is all on offer; template: path under `output`, from {model}, {track}, {stem}, {ext}.

    existing: what to do where a stem's file is there already: "refuse", "overwrite", or "skip", which writes only the stems that are not
    there. start, duration: the part to separate, in seconds. consistent, wiener: see Separator.stream.
    """

    output: str | Path = "separated"
    stems: tuple[str, ...] | None = None
    form: AudioFormat = field(default_factory=AudioFormat)
    template: str = TEMPLATE
    existing: str = "refuse"
    start: float = 0.0
    duration: float | None = None
    consistent: bool = False
    wiener: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.form, AudioFormat):
            raise AudioError(f"form is an AudioFormat; give AudioFormat({self.form!r}) rather than {self.form!r}")
        if self.existing not in EXISTING:
            raise AudioError(f"existing files cannot be treated by {self.existing!r}; choose from {', '.join(EXISTING)}")
        try:
            parts = [part for part in string.Formatter().parse(self.template) if part[1] is not None]
        except ValueError as error:
            raise AudioError(f"the name template {self.template!r} is malformed ({error})") from error
        fields = {name for _, name, _, _ in parts}
        if fields - FIELDS or "stem" not in fields or any(form or conversion for _, _, form, conversion in parts):
            raise AudioError(
                f"a name template must hold {{stem}}, and of fields only {{model}}, {{track}}, {{stem}} and {{ext}}: {self.template!r}"
            )

    @property
    def folder(self) -> Path:
        """`output` as a path."""
        return Path(self.output)

    def target(self, model: str, track: str, stem: str) -> Path:
        """Where a stem goes. Raises AudioError if that would be outside the output folder, or can be no name."""
        name = self.template.format(model=model, track=track, stem=stem, ext=self.form.name)
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise AudioError(f"the name {name!r} leads out of the output folder")
        if "\0" in name:
            raise AudioError(f"the name {name!r} cannot be that of a file")
        return self.folder / name


@dataclass(frozen=True)
class Result:
    """What was written. files lacks those that were there and skipped; gain_db: by how much all stems were turned down, 0 or less."""

    files: dict[str, Path]
    seconds: float
    gain_db: float


def targets(separator: Separator, job: Job, track: str) -> dict[str, Path]:
    """Stem by stem, the files that `separate_file` would write."""
    return {stem: job.target(separator.card.name, track, stem) for stem in separator.check_stems(job.stems)}


def separate_file(separator: Separator, path: Path, job: Job, track: str | None = None, hook: Hook | None = None) -> Result:
    """Separate one file; all stems appear under their final names at the end, or none does, and the song itself is never replaced.

    hook(done, total) counts samples, total is None if the file does not tell; while the stems are encoded it is called with all done. Raise
    `Cancelled` in it to stop. Raises AudioError, and whatever the hook raises.
    """
    raised: list[OSError] = []  # by the hook: no fault of the song

    def heard(done: int, total: int | None) -> None:
        try:
            if hook is not None:
                hook(done, total)
        except OSError as error:
            raised.append(error)
            raise

    try:
        return _separate_file(separator, path, job, track, heard)
    except NotFiniteError as error:
        raise AudioError(f"{path}: {error}") from error
    except OSError as error:
        if error in raised:
            raise
        raise AudioError(f"{path}: cannot be separated ({error})") from error


def _separate_file(separator: Separator, path: Path, job: Job, track: str | None, hook: Hook) -> Result:
    files = targets(separator, job, path.stem if track is None else track)
    there = {stem for stem, file in files.items() if _is_taken(file)}
    if len(there) == len(files) and job.existing == "skip":
        return Result({}, 0.0, 0.0)
    if there and job.existing == "refuse":
        raise AudioError(f"{files[min(there)]}: exists already; choose to overwrite or to skip")
    reader = AudioReader(path, job.start, job.duration)
    try:
        job.form.check(reader.rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    make_folder(job.folder)
    with ExitStack() as stack:
        stack.enter_context(_folders_within(job.folder, [file.parent for file in files.values()]))
        for file in files.values():  # in folders that are there, where a name that is too long is noticed too
            if file.is_dir():
                raise AudioError(f"{file}: cannot be written, it is a folder")
            if file.exists() and file.samefile(path):
                raise AudioError(f"{file}: is the song itself; choose another folder or other names for the results")
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".separate-", dir=job.folder))
        spools = {stem: Spool(Path(folder) / str(number), reader.channels) for number, stem in enumerate(files)}
        blocks = (torch.from_numpy(block.T) for block in reader.blocks())
        parts = separator.stream(blocks, reader.rate, tuple(files), lambda done, _: hook(done, reader.samples), job.consistent, job.wiener)
        for part in parts:
            for stem, spool in spools.items():
                spool.append(part[stem].T.numpy())
        peak = max(spool.peak for spool in spools.values())
        gain = 1 / peak if job.form.limited and peak > 1 else 1.0
        samples = next(iter(spools.values())).samples
        writers: dict[str, AudioWriter] = {}
        for stem in files:
            if job.existing == "skip" and stem in there:
                continue
            writer = AudioWriter(files[stem], reader.rate, reader.channels, job.form, samples, reader.tags)
            writers[stem] = stack.enter_context(writer)
            for block in spools[stem].blocks():
                writer.write(block * np.float32(gain))
                hook(samples, samples)
        placed = publish(tuple(writers.values()), job.existing)
    return Result({stem: file for stem, file in files.items() if file in placed}, samples / reader.rate, 20 * float(np.log10(gain)))


@contextmanager
def _folders_within(output: Path, folders: Sequence[Path]) -> Iterator[None]:
    """Make folders in `output`; in the end, those that were not there before and are empty go again. Raises AudioError."""
    made = {place for folder in folders for place in (folder, *folder.parents) if output in place.parents and not place.exists()}
    try:
        for folder in folders:
            make_folder(folder)
        yield
    finally:
        for place in sorted(made, reverse=True):  # a folder after those in it
            with suppress(OSError):  # it is not empty
                place.rmdir()


def _is_taken(path: Path) -> bool:
    """Whether anything has this name, a link that leads nowhere too. Raises OSError if it cannot be a name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class Spool:
    """Raw float32 on disk: a stem waits here until the peak of all of them is known."""

    def __init__(self, path: Path, channels: int) -> None:
        self._path, self._channels = path, channels
        self.peak, self.samples = 0.0, 0

    def append(self, block: Block) -> None:
        """Add [samples, channels]. Raises AudioError if the disk refuses."""
        try:
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(block, dtype=np.float32).tobytes())
        except OSError as error:
            raise AudioError(f"{self._path.parent.parent}: cannot be written ({error.strerror})") from error
        self.peak = max(self.peak, float(np.abs(block).max(initial=0)))
        self.samples += len(block)

    def blocks(self) -> Iterator[Block]:
        """All of it, from the start."""
        with self._path.open("rb") as file:
            while piece := file.read(BLOCK * self._channels * 4):
                yield np.frombuffer(piece, dtype=np.float32).reshape(-1, self._channels)


def find_songs(separator: Separator, inputs: Sequence[Path], job: Job, on_error: Callable[[Path, str], None]) -> list[tuple[Path, str]]:
    """What `find_tracks` finds, less what an earlier run of the job wrote among the songs.

    Not so if files are replaced: then what looks like a result may be a song that would be lost.
    """
    results = [job.folder, job.folder / separator.card.name] if job.template.startswith("{model}/") else [job.folder]
    tracks = find_tracks(inputs, results, on_error)
    if job.existing == "overwrite":
        return tracks
    asked_for, written = set(inputs), set[str]()
    for path, track in tracks:
        with suppress(AudioError):  # which the song's turn will tell
            written |= {os.path.realpath(file) for file in targets(separator, job, track).values()} - {os.path.realpath(path)}
    return [(path, track) for path, track in tracks if path in asked_for or os.path.realpath(path) not in written]


def find_tracks(inputs: Sequence[Path], results: Sequence[Path], on_error: Callable[[Path, str], None]) -> list[tuple[Path, str]]:
    """(file, track name) for files and for all audio files in folders; a track in a folder is named by its path inside it.

    What is there twice counts once; what lies in `results`, folders within those, is no song. Links to folders are followed, but no folder
    is searched twice. on_error(path, message) is called for a folder without any song, and for what may not be read.
    """
    tracks: dict[tuple[str, str], tuple[Path, str]] = {}
    left_out = {os.path.realpath(folder) for folder in results}
    for given in inputs:
        if not _is_folder(given):
            tracks.setdefault((os.path.realpath(given), given.stem), (given, given.stem))
            continue
        closed: list[Path] = []
        inside = [(path, str(path.relative_to(given).with_suffix(""))) for path in sorted(_songs(given, left_out, closed))]
        for path in closed:
            on_error(path, f"{path}: may not be read")
        if not inside and not closed:
            on_error(given, f"{given}: no audio files in this folder")
        for path, track in inside:
            tracks.setdefault((os.path.realpath(path), track), (path, track))
    return list(tracks.values())


def _songs(folder: Path, left_out: set[str], closed: list[Path]) -> Iterator[Path]:
    """Audio files in a folder and those in it, none hidden nor in `left_out`; what may not be read is added to `closed`."""
    seen = left_out - {os.path.realpath(folder)}
    links = [folder]  # searched last, so that a song is named by its own place if it has one here
    for start in links:
        for place, folders, names in os.walk(start, onerror=lambda error: closed.append(Path(error.filename))):
            where = os.path.realpath(place)
            folders[:] = [] if where in seen else sorted(name for name in folders if not _is_hidden(name))
            if where in seen:
                continue
            seen.add(where)
            links += [Path(place, name) for name in folders if os.path.realpath(Path(place, name)) != str(Path(where, name))]
            for path in (Path(place, name) for name in names if not _is_hidden(name) and Path(name).suffix.lower() in SUFFIXES):
                try:
                    if path.is_file():
                        yield path
                except PermissionError:
                    closed.append(path)


def _is_hidden(name: str) -> bool:
    """Whether it begins with a dot, but not with several, as a song's title may."""
    return name.startswith(".") and not name.startswith("..")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long a name, or in a folder that may not be searched: whoever opens it will say so
        return False
