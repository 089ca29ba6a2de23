"""What a second job saves in scoring: `python -m benchmarks.scoring SONGS`, a folder of songs with their stems. Wants a quiet machine."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import machine


def seconds(songs: Path, jobs: int) -> float:
    """Wall clock of `recipes.score` from nothing."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        command = [sys.executable, "-W", "ignore", "-m", "recipes.score", str(songs), out, "--jobs", str(jobs)]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("songs", type=Path)
    songs = parser.parse_args().songs
    print(machine())
    one, two = seconds(songs, 1), seconds(songs, 2)
    print(f"one job {one:.1f} s, two jobs {two:.1f} s: {two / one:.0%}")


if __name__ == "__main__":
    main()
