"""Does memory stay flat? `python -m benchmarks.longrun [--files 200] [--hours 6] [--model NAME]`.

Many files of mixed formats, rates and lengths through one process: resident memory after the tenth and after the last. One long file,
its vocals stored as float (above 4 GiB from 3.4 hours on: RF64): peak memory beside that of five minutes, and the right length.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from benchmarks.processes import alone, machine
from separate import Job, Separator
from separate.audio import Block
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
    ("m4a", 44100, 2),
    ("webm", 48000, 2),
    ("opus", 48000, 1),
)
CODECS = {"m4a": "aac", "webm": "libopus"}  # what libsndfile does not write


def resident() -> float:
    """This process's resident memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write_noise(path: Path, seconds: float, rate: int, channels: int, seed: int = 0) -> int:
    """A file of quiet noise, written 4096 samples at a time; returns its length in samples."""
    rng, total = np.random.default_rng(seed), round(seconds * rate)
    blocks = (rng.normal(0, 0.05, (min(4096, total - start), channels)).astype(np.float32) for start in range(0, total, 4096))
    codec, form = CODECS.get(path.suffix[1:]), ("OGG", "OPUS") if path.suffix == ".opus" else (None, None)
    if codec:
        encode_with_av(path, blocks, codec, rate, channels)
        return total
    with soundfile.SoundFile(path, "w", rate, channels, format=form[0], subtype=form[1]) as file:
        for block in blocks:
            file.write(block)
    return total


def encode_with_av(path: Path, blocks: Iterable[Block], codec: str, rate: int, channels: int) -> None:
    """A file in one of FFmpeg's formats, which reach the network by another way than libsndfile's."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="stereo" if channels == 2 else "mono")
        fifo, position = av.AudioFifo(), 0
        for block in blocks:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts = rate, position
            position += len(block)
            fifo.write(frame)
            for part in fifo.read_many(stream.codec_context.frame_size or 1024):
                container.mux(stream.encode(part))
        container.mux(stream.encode(fifo.read()))
        container.mux(stream.encode(None))


def many(model: str | None, files: int) -> tuple[float, float]:
    """Resident memory in MB after the tenth of so many files, by when every kind has come, and the last."""
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


def one(model: str | None, seconds: float, rate: int = RATE) -> tuple[int, int, float]:
    """(samples in, samples out, peak resident memory in MB) of one long stereo file."""
    separator = Separator.load(model, "cpu") if model else Separator.load(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        written = write_noise(Path(folder) / "long.wav", seconds, rate, 2)
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
    (early, last), _ = alone(many, options.model, options.files)
    print(f"{options.files} files: {early:.0f} MB after the tenth, {last:.0f} MB after the last, {last / early - 1:+.1%}", flush=True)
    short = alone(one, options.model, 300)[0]
    long = alone(one, options.model, options.hours * 3600)[0]
    for name, (given, got, peak) in (("5 minutes", short), (f"{options.hours:g} hours", long)):
        print(f"{name}: {given} samples in, {got} out, peak {peak:.0f} MB")
    print(f"peak of the long file over that of the short: {long[2] / short[2] - 1:+.1%}")


if __name__ == "__main__":
    main()
