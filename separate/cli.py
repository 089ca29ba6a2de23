"""The `separate` command: reads the options, calls the library, reports. No signal processing here."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import time
import unicodedata
import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from separate import __version__
from separate.errors import SeparateError

if TYPE_CHECKING:
    from separate.files import Job
    from separate.separator import Separator

TURNS = {*"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}  # the direction of the characters after it

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Format(str, Enum):
    """Output formats."""

    wav = "wav"
    flac = "flac"
    mp3 = "mp3"
    ogg = "ogg"


class Subtype(str, Enum):
    """Sample formats: bits of an integer, or float."""

    bits16 = "16"
    bits24 = "24"
    float = "float"


def given_path(text: str) -> Path:
    """A song or folder; an empty name, as of a script's variable that nobody has set, would mean the folder one is in."""
    if not text:
        raise typer.BadParameter("the name is empty")
    return Path(text)


def device_name(text: str) -> str:
    """Of the form that Separator.load knows."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise typer.BadParameter(f"no device {text!r}; choose auto, cpu, cuda (or cuda:1, ...) or mps")
    return text


def printable(text: object) -> str:
    """One line in which a name can neither break the line nor command the terminal: what could is escaped, all else stays."""
    return "".join(char.encode("unicode_escape", "backslashreplace").decode() if _commands(char) else char for char in str(text))


def _commands(char: str) -> bool:
    """Whether a character is a control, half of one, or the end of a line, or turns the direction of writing."""
    return char in TURNS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def say(text: str) -> None:
    """One line to the user."""
    print(printable(text), file=sys.stderr, flush=True)


def complain(text: object) -> None:
    """One line about what went wrong."""
    say(f"separate: {text}")


@app.command()
def separate(
    inputs: Annotated[
        list[Path] | None, typer.Argument(parser=given_path, metavar="SONG", help="Songs, or folders of songs.", show_default=False)
    ] = None,
    stem: Annotated[
        list[str] | None, typer.Option("--stem", metavar="STEM", help="A stem to write, as vocals; may be repeated. [default: all]")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", parser=given_path, metavar="DIR", help="For the results.")] = Path("separated"),
    form: Annotated[Format, typer.Option("--format", help="File format of the stems.")] = Format.wav,
    subtype: Annotated[Subtype | None, typer.Option(help="Bits a sample: 16, 24 (wav, flac) or float (wav). [default: 16]")] = None,
    name: Annotated[str, typer.Option(metavar="TEMPLATE", help="Path of each result inside the folder.")] = "{model}/{track}/{stem}.{ext}",
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A model's name, or the path of its folder.", show_default="the one shipped")
    ] = None,
    device: Annotated[
        str, typer.Option(parser=device_name, metavar="DEVICE", help="Where to compute: auto, cpu, cuda, cuda:1, ... or mps.")
    ] = "auto",
    fast: Annotated[bool, typer.Option("--fast", help="One pass instead of two: half the work, a little worse.")] = False,
    start: Annotated[float, typer.Option(min=0, help="Leave out so many seconds at the start of each song.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Separate only so many seconds.")] = None,
    consistent: Annotated[bool, typer.Option("--consistent", help="Adjust the stems so that they sum to the song.")] = False,
    wiener: Annotated[bool, typer.Option("--wiener", help="Filter all stems by their stereo positions.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Keep results that exist, write only those missing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    list_models: Annotated[bool, typer.Option("--list-models", help="List the included models, and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list-models: as JSON.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version, and exit.")] = False,
) -> None:
    """Split songs into their stems: separate song.mp3 --stem vocals"""
    if version:
        print(__version__)
        return
    try:
        if list_models:
            print_models(as_json)
            return
        if not inputs:
            raise typer.BadParameter("no song given; try: separate song.mp3 --stem vocals")
        if overwrite and skip_existing:
            raise typer.BadParameter("--overwrite and --skip-existing exclude each other")
        from separate.encode import AudioFormat
        from separate.files import Job
        from separate.pretrained import DEFAULT
        from separate.quota import heed
        from separate.separator import Separator

        heed()
        job = Job(
            output=output,
            stems=tuple(stem) if stem else None,
            form=AudioFormat(form.value, subtype.value if subtype else None),
            template=name,
            existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
            start=start,
            duration=duration,
            consistent=consistent,
            wiener=wiener,
        )
        with warnings.catch_warnings(record=True) as troubles:
            separator = Separator.load(DEFAULT if model is None else model, device, fast=fast)
        for trouble in troubles:
            complain(trouble.message)
        separator.check_stems(job.stems)
        failed = run(separator, inputs, job, quiet)
    except SeparateError as error:
        complain(error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        complain("interrupted; finished songs are kept, nothing is half-written")
        raise typer.Exit(128 + (error.args[0] if isinstance(error, Stopped) else signal.SIGINT)) from error
    if failed:
        raise typer.Exit(1)


def run(separator: Separator, inputs: list[Path], job: Job, quiet: bool) -> int:
    """Separate one track after the other; a failure does not stop the rest. Returns how many failed."""
    from separate.files import find_songs, separate_file, targets

    failed: list[Path] = []

    def fail(path: Path, text: object) -> None:
        complain(text)
        failed.append(path)

    tracks = find_songs(separator, inputs, job, fail)
    songs = {os.path.realpath(path) for path, _ in tracks}
    written: dict[str, Path] = {}
    done = 0
    for number, (path, track) in enumerate(tracks, 1):
        began = time.perf_counter()
        try:
            wanted = targets(separator, job, track)
            places = {os.path.realpath(file): file for file in wanted.values()}
            for real, file in places.items():
                if (other := written.get(real, path)) != path:
                    raise SeparateError(f"{path}: would be written to {file}, as {other} was; separate it by itself, with another -o")
                if job.existing == "overwrite" and real in songs and real != os.path.realpath(path):
                    raise SeparateError(f"{path}: would be written to {file}, which is a song to separate; choose another folder (-o)")
            with Progress(f"[{number}/{len(tracks)}] {path.name}", quiet) as progress:
                result = separate_file(separator, path, job, track, progress)
        except SeparateError as error:
            fail(path, error)
            continue
        except MemoryError:
            fail(path, f"{path}: there is not enough memory for it")
            continue
        except Exception as error:  # whatever it is, the rest of the batch goes on
            fail(path, f"{path}: cannot be separated ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})")
            continue
        done += 1
        written |= dict.fromkeys(places, path)
        if quiet:
            continue
        if not result.files:
            say(f"{path}: exists already, skipped")
            continue
        seconds = time.perf_counter() - began
        say(f"{path}: {result.seconds:.1f} s of music in {seconds:.1f} s, {result.seconds / seconds:.1f} times real time")
        if result.gain_db < 0:
            alike = "all stems alike" if len(result.files) == len(wanted) else "these stems alike"
            say(f"  turned down by {-result.gain_db:.2f} dB, {alike}, so that none clips")
        for file in result.files.values():
            print(printable(file), flush=True)
    total = done + len(failed)
    if max(len(inputs), total) > 1 and (failed or not quiet):
        say(f"{done} of {total} songs done" + (f", {len(failed)} failed:" if failed else ""))
        for path in failed:
            say(f"  {path}")
    return len(failed)


class Progress:
    """A bar with the time left on a terminal; a line every tenth of the way elsewhere. Called as hook(done, total)."""

    def __init__(self, title: str, quiet: bool) -> None:
        self.title, self.quiet, self.tenth = title, quiet, 0
        self.bar = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(escape(printable(title)), total=None)

    def __call__(self, done: int, total: int | None) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=total)
        elif not self.quiet and total and done * 10 // total > self.tenth:
            self.tenth = done * 10 // total
            say(f"{self.title}: {min(100, self.tenth * 10)} %")

    def __enter__(self) -> Progress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()


def print_models(as_json: bool) -> None:
    """The models that came with the package, a line each, or their cards as JSON."""
    from dataclasses import asdict

    from separate.pretrained import DEFAULT, available

    cards = available()
    if as_json:
        print(json.dumps([{**asdict(card), "offers": card.offers, "default": card.name == DEFAULT} for card in cards], indent=2))
        return
    for card in cards:
        mark = " (default)" if card.name == DEFAULT else ""
        print(f"{card.name}{mark}: {', '.join(card.offers)}; {card.licence}. {card.description}")


class Stopped(KeyboardInterrupt):
    """A signal that ends programs, as services and closing terminals send it; its only argument is the number."""


def stop(number: int, _: object) -> None:
    """Handler of such signals: what is half-written is cleared away as after Ctrl-C."""
    raise Stopped(number)


def main() -> None:
    """Entry point of the `separate` command."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, stop)
    if sys.stderr is None:  # closed by whoever started the program
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  as long as the program
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that its encoding lacks
    app()


if __name__ == "__main__":
    main()
