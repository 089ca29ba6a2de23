"""How fast our own is, and where the time goes: `python -m benchmarks.speed SONG`.

Real-time factor and peak memory by chunk length, threads, precision and passes; the whole command, start-up included; flat memory by
length; the share of the machine's matrix-multiply peak that the network reaches; training speed by recipe. SONG: stereo, 44.1 kHz. Wants a
quiet machine.
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
import yaml
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.processes import alone, best_seconds, machine, pin_threads
from separate import Separator
from separate.audio import AudioReader
from separate.separator import has_bfloat16

THREADS = 2
RATE = 44100
FOLDER = Path(__file__).parent.parent / "recipes"
NO_WEIGHTS = ("--model.loss.init_args.vgg.init_args.weights", "random")  # they cost what real ones cost
# By name: the recipe's files, one over the other, and options.
RECIPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "opencorpus, vocals": (("opencorpus/vocals.yaml",), ()),
    "opencorpus, four stems": (("opencorpus/vocals.yaml", "opencorpus/four_stems.yaml"), ()),
    "opencorpus, vocals, feature loss": (("opencorpus/vocals.yaml", "opencorpus/feature_loss.yaml"), NO_WEIGHTS),
    "musdb18, vocals, L2": (("musdb18/base.yaml", "musdb18/vocals.yaml", "musdb18/l2.yaml"), ()),
    "musdb18, vocals": (("musdb18/base.yaml", "musdb18/vocals.yaml"), NO_WEIGHTS),
}


def song(path: Path, seconds: float) -> torch.Tensor:
    """[2, samples] at 44.1 kHz: the song, repeated or cut to length."""
    wave = np.concatenate(list(AudioReader(path).blocks()))
    return torch.from_numpy(np.resize(wave, (round(seconds * RATE), 2)).T.copy())


def inference(path: Path, frames: int, threads: int, precision: str, fast: bool) -> float:
    """Times real time on one minute."""
    torch.set_num_threads(threads)
    ours, mixture = Separator.load(device="cpu", precision=precision, fast=fast), song(path, 60)
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


def peak_share(precision: str) -> tuple[float, float, float]:
    """(GFLOP/s of the network, GFLOP/s of a large matrix product, GFLOP a second of audio)."""
    torch.set_num_threads(THREADS)
    ours = Separator.load(device="cpu", precision=precision)
    network = ours.network
    magnitude = torch.rand(1, network.config.channels, network.config.bins, 608)
    matrix = torch.rand(2048, 2048).to(ours.dtype)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(magnitude)
        flops = counter.get_total_flops()
        spent = best_seconds(lambda: network(magnitude))
        peak = 2 * 2048**3 / best_seconds(lambda: matrix @ matrix)
    return flops / spent / 1e9, peak / 1e9, ours.passes * flops / 1e9 / (608 * ours.front_end.config.hop_length / RATE)


def training(recipe: str, precision: str) -> float:
    """Seconds of audio trained a second of wall clock: a recipe's network, loss and batch, on noise, without data and averages."""
    from recipes.train import RecipeCLI
    from separate.data.module import StemsData
    from separate.tasks.separation import SeparationTask

    torch.set_num_threads(THREADS)
    files, options = RECIPES[recipe]
    arguments = []
    for name in files:  # without what only the subcommand `fit` knows
        settings = {key: value for key, value in yaml.safe_load((FOLDER / name).read_text()).items() if key in ("model", "data", "trainer")}
        arguments += ["--config", yaml.safe_dump(settings)]
    arguments += ["--data.init_args.root", "none", "--trainer.accelerator", "cpu", "--trainer.precision", precision, *options]
    cli = RecipeCLI(SeparationTask, StemsData, subclass_mode_data=True, args=arguments, run=False, save_config_callback=None)
    task, data = cli.model, cli.datamodule
    optimizer = torch.optim.AdamW([parameter for parameter in task.parameters() if parameter.requires_grad])
    batch = 0.1 * torch.randn(data.batch_size, len(data.targets) + 1, 2, data.samples)

    def step() -> None:
        with cli.trainer.precision_plugin.train_step_context():
            loss = task.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return float(data.batch_size * data.samples / data.rate / best_seconds(step, 3))


def write_clip(path: Path, clip: Path, seconds: int) -> None:
    """The song, repeated or cut to length, as a 16-bit wav file."""
    wave, left = np.concatenate(list(AudioReader(path).blocks())), seconds * RATE
    with soundfile.SoundFile(clip, "w", RATE, 2) as file:
        while left:
            file.write(wave[:left])
            left -= min(left, len(wave))


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
    precisions = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
    pin_threads(THREADS)
    print(machine() + "\n\nchunk frames  threads  precision  passes   x real time   peak MB")
    settings = [*((frames, THREADS, False) for frames in (64, 128, 192, 256, 512)), (192, 1, False), (192, THREADS, True), (192, 1, True)]
    for precision in precisions:
        for frames, threads, fast in settings:
            factor, memory = alone(inference, path, frames, threads, precision, fast)
            print(f"{frames:>12}{threads:>9}{precision:>11}{1 if fast else 2:>8}{factor:>14.1f}{memory:>10.0f}", flush=True)
    print("\nstream of minutes    seconds   peak MB")
    for minutes in (1, 5, 60):
        spent, memory = alone(streamed, path, minutes)
        print(f"{minutes:>17}{spent:>11.1f}{memory:>10.0f}", flush=True)
    print()
    for precision in precisions:
        (reached, peak, cost), _ = alone(peak_share, precision)
        share = f"at {reached:.0f} GFLOP/s, {reached / peak:.0%} of what matrix products reach"
        print(f"network, {precision}: {cost:.2f} GFLOP a second of audio, {share}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"\nseparate --help: {command('--help')[0]:.2f} s")
        for seconds in (10, 180, 1800):
            clip = Path(folder) / f"{seconds}.wav"
            write_clip(path, clip, seconds)
            spent, memory = command(clip, "--stem", "vocals", "--overwrite", "-q", "-o", folder)
            print(
                f"separate --stem vocals, {seconds} s of music: {spent:.2f} s all in, {seconds / spent:.1f} x real time, {memory:.0f} MB",
                flush=True,
            )
    print("\ntraining by recipe, seconds of audio a second, two cores")
    for recipe in RECIPES:
        for precision in ("32-true", "bf16-mixed")[: len(precisions)]:
            try:
                rate, memory = alone(training, recipe, precision)
            except RuntimeError as error:  # memory, where there is too little
                print(f"{recipe:<34}{precision:<12}{error}", flush=True)
                continue
            print(f"{recipe:<34}{precision:<12}{rate:>8.2f}{memory:>8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
