"""Does memory stay flat? `python -m benchmarks.longrun [--files 200] [--hours 6] [--model NAME]`.

Many files of mixed formats, rates and lengths through one process: resident memory after the tenth and after the last. One long file, its
vocals stored as float (above 4 GiB from 3.4 hours on: RF64): peak memory beside that of five minutes, and the right length.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.processes import alone, machine
from separate import Job, Separator
from separate.encode import AudioFormat

RATE = 44100
KINDS = (
    ("wav", 44100, 2),
    ("flac", 48000, 2),
    ("mp3", 44100, 1),
    ("ogg", 22050, 2),
    ("wav", 96000, 1),
    ("mp3", 48000, 2),
    ("aiff", 8000, 1),
)


def resident() -> float:
    """This process's resident memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write_noise(path: Path, seconds: float, rate: int, channels: int, seed: int = 0) -> int:
    """A file of quiet noise, written a second at a time; returns its length in samples."""
    rng, left = np.random.default_rng(seed), round(seconds * rate)
    total = left
    with soundfile.SoundFile(path, "w", rate, channels) as file:
        while left:
            count = min(left, 4096)
            file.write(rng.normal(0, 0.05, (count, channels)).astype(np.float32))
            left -= count
    return total


def many(model: str | None, files: int) -> tuple[float, float]:
    """Resident memory in MB after the tenth and after the last of so many files."""
    separator = Separator.load(model, "cpu") if model else Separator.load(device="cpu")
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            suffix, rate, channels = KINDS[number % len(KINDS)]
            path = Path(folder) / f"{number}.{suffix}"
            write_noise(path, 3 + number * 7 % 20, rate, channels, number)
            separator.file(path, Job(Path(folder) / "out", existing="overwrite", template="{stem}.{ext}"))
            path.unlink()
            memory.append(resident())
    return memory[min(9, files - 1)], memory[-1]


def one(model: str | None, seconds: float) -> tuple[int, int, float]:
    """(samples in, samples out, peak resident memory in MB) of one long stereo file."""
    separator = Separator.load(model, "cpu") if model else Separator.load(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        written = write_noise(Path(folder) / "long.wav", seconds, RATE, 2)
        result = separator.file(Path(folder) / "long.wav", Job(Path(folder) / "out", ("vocals",), AudioFormat("wav", "float")))
        return written, soundfile.info(result.files["vocals"]).frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.longrun", description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--model")
    options = parser.parse_args()
    print(machine())
    (tenth, last), _ = alone(many, options.model, options.files)
    print(f"{options.files} files: {tenth:.0f} MB after the tenth, {last:.0f} MB after the last, {last / tenth - 1:+.1%}", flush=True)
    short = alone(one, options.model, 300)[0]
    long = alone(one, options.model, options.hours * 3600)[0]
    for name, (given, got, peak) in (("5 minutes", short), (f"{options.hours:g} hours", long)):
        print(f"{name}: {given} samples in, {got} out, peak {peak:.0f} MB")
    print(f"peak of the long file over that of the short: {long[2] / short[2] - 1:+.1%}")


if __name__ == "__main__":
    main()
