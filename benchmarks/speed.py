"""How fast our own is, and where the time goes: `python -m benchmarks.speed SONG`.

Real-time factor and peak memory by chunk length, threads and precision; the whole command, start-up included; flat memory by length;
the share of the machine's matrix-multiply peak that the network reaches; training speed by preset. Wants a quiet machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.processes import alone, best_seconds, machine
from separate import Separator
from separate.audio import AudioReader
from separate.frontend import FrontEnd
from separate.models.mmdensenet import PRESETS, MMDenseNet
from separate.separator import has_bfloat16

THREADS = 2
RATE = 44100


def song(path: Path, seconds: float) -> torch.Tensor:
    """[2, samples] at 44.1 kHz: the song, repeated or cut to length."""
    wave = np.concatenate(list(AudioReader(path).blocks()))
    return torch.from_numpy(np.resize(wave, (round(seconds * RATE), 2)).T.copy())


def inference(path: Path, frames: int, threads: int, precision: str) -> float:
    """Times real time on one minute."""
    torch.set_num_threads(threads)
    ours, mixture = Separator.load(device="cpu", precision=precision), song(path, 60)
    ours.chunk_frames = frames
    return 60 / best_seconds(lambda: ours(mixture, RATE, ["vocals"]), 2)


def streamed(path: Path, minutes: int) -> float:
    """Seconds for a stream of so many minutes, its stems thrown away."""
    torch.set_num_threads(THREADS)
    ours, block = Separator.load(device="cpu"), song(path, 60)
    began = time.perf_counter()
    for _ in ours.stream((block for _ in range(minutes)), RATE):
        pass
    return time.perf_counter() - began


def peak_share() -> tuple[float, float, float]:
    """(GFLOP/s of the network, GFLOP/s of a large matrix product, GFLOP a second of audio)."""
    torch.set_num_threads(THREADS)
    network = Separator.load(device="cpu", precision="float32").network
    magnitude = torch.rand(1, network.config.channels, network.config.bins, 608)
    matrix = torch.rand(2048, 2048)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(magnitude)
        flops = counter.get_total_flops()
        spent = best_seconds(lambda: network(magnitude))
        peak = 2 * 2048**3 / best_seconds(lambda: matrix @ matrix)
    return flops / spent / 1e9, peak / 1e9, flops / 1e9 / (608 * 1024 / RATE)


def training(preset: str) -> float:
    """Seconds of audio trained a second of wall clock, batches of 8 x 128 frames, data not counted."""
    torch.set_num_threads(THREADS)
    network, front_end = MMDenseNet(PRESETS[preset]), FrontEnd()
    optimizer, wave = torch.optim.AdamW(network.parameters()), torch.randn(8, 2, 127 * 1024)

    def step() -> None:
        loss = network(front_end.stft(wave).abs()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return 8 * wave.shape[-1] / RATE / best_seconds(step, 3)


def command(*arguments: object) -> tuple[float, float]:
    """(wall-clock seconds, peak resident memory in MB) of the `separate` command."""
    # By way of a small process: a child's peak begins at that of the process that starts it.
    small = (
        "import resource, subprocess, sys, time; began = time.perf_counter();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    code = "import sys; from separate.cli import main; sys.argv[0] = 'separate'; main()"
    whole = [sys.executable, "-c", small, sys.executable, "-c", code, *map(str, arguments)]
    runs = [subprocess.run(whole, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
    return min(float(spent) for spent, _ in runs), max(float(memory) for _, memory in runs)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("song", type=Path)
    path = parser.parse_args().song
    print(machine() + "\n\nchunk frames  threads  precision   x real time   peak MB")
    for precision in ("float32", "bfloat16") if has_bfloat16() else ("float32",):
        for frames, threads in [*((frames, THREADS) for frames in (64, 128, 256, 320, 512, 1024, 2048)), (512, 1)]:
            factor, memory = alone(inference, path, frames, threads, precision)
            print(f"{frames:>12}{threads:>9}{precision:>11}{factor:>14.1f}{memory:>10.0f}", flush=True)
    print("\nstream of minutes    seconds   peak MB")
    for minutes in (1, 5, 60):
        spent, memory = alone(streamed, path, minutes)
        print(f"{minutes:>17}{spent:>11.1f}{memory:>10.0f}", flush=True)
    (reached, peak, cost), _ = alone(peak_share)
    print(f"\nnetwork: {cost:.2f} GFLOP a second of audio, at {reached:.0f} GFLOP/s, {reached / peak:.0%} of what matrix products reach")
    with tempfile.TemporaryDirectory() as folder:
        clips = {seconds: Path(folder) / f"{seconds}.wav" for seconds in (10, 180, 600)}
        for seconds, clip in clips.items():
            soundfile.write(clip, song(path, seconds).T.numpy(), RATE)
        print(f"\nseparate --help: {command('--help')[0]:.2f} s")
        for seconds, clip in clips.items():
            spent, memory = command(clip, "--stem", "vocals", "--overwrite", "-q", "-o", folder)
            print(
                f"separate --stem vocals, {seconds} s of music: {spent:.2f} s all in, {seconds / spent:.1f} x real time, {memory:.0f} MB",
                flush=True,
            )
    print("\ntraining, seconds of audio a second")
    for preset in PRESETS:
        rate, memory = alone(training, preset)
        print(f"{preset:<10}{rate:>8.2f}{memory:>8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
