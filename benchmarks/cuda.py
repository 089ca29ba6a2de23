"""How fast our own is on a CUDA device, and how near to the processor's result: `python -m benchmarks.cuda SONG`.

Real-time factor and torch's peak memory on the device by chunk length and precision, beside the processor; the distance from the
processor's float32 result, and of a stream in small pieces from the whole; training speed by batch. SONG: stereo, 44.1 kHz.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.processes import best_seconds, machine
from benchmarks.speed import RATE, song
from separate import Separator
from separate.frontend import FrontEndConfig
from separate.tasks.separation import SeparationTask

SECONDS = 180


def device_seconds(function: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """(shortest time, peak memory of the device in MB), with all its work done."""
    torch.cuda.reset_peak_memory_stats()

    def finished() -> None:
        function()
        torch.cuda.synchronize()

    return best_seconds(finished, repeats), torch.cuda.max_memory_allocated() / 2**20


def distance_db(estimate: torch.Tensor, reference: torch.Tensor) -> float:
    """Energy of the difference against the reference's, in dB."""
    return 10 * float(torch.log10((estimate - reference).square().sum() / reference.square().sum()))


def agreement(mixture: torch.Tensor) -> None:
    """The device's stems against the processor's, and streamed against whole."""
    wanted = Separator.load(device="cpu", precision="float32")(mixture, RATE)
    print("\nprecision   dB from the processor's float32, by stem")
    for precision in ("float32", "bfloat16"):
        ours = Separator.load(device="cuda", precision=precision)
        whole = ours(mixture, RATE)
        row = ", ".join(f"{name} {distance_db(whole[name], wanted[name]):.0f}" for name in wanted)
        pieces = [piece["vocals"] for piece in ours.stream(mixture.split(12345, 1), RATE, ["vocals"])]
        ours.chunk_frames = 64
        short = ours(mixture, RATE, ["vocals"])["vocals"]
        streamed, chunked = ((other - whole["vocals"]).abs().max() for other in (torch.cat(pieces, 1), short))
        print(f"{precision:<12}{row}; in pieces at most {streamed:.1e} off, in shorter chunks {chunked:.1e}", flush=True)


def inference(mixture: torch.Tensor) -> None:
    """Times real time, all stems."""
    print(f"\nall stems of {mixture.shape[1] / RATE:.0f} s\ndevice  precision   chunk frames   x real time   peak MB")
    for precision in ("float32", "bfloat16"):
        ours = Separator.load(device="cuda", precision=precision)
        for frames in (192, 512, 2048):
            ours.chunk_frames = frames
            spent, memory = device_seconds(partial(ours, mixture, RATE))
            print(f"cuda    {precision:<12}{frames:>12}{mixture.shape[1] / RATE / spent:>14.1f}{memory:>10.0f}", flush=True)
        ours = Separator.load(device="cpu", precision=precision)
        spent = best_seconds(partial(ours, mixture, RATE), 1)
        print(f"cpu     {precision:<12}{ours.chunk_frames:>12}{mixture.shape[1] / RATE / spent:>14.1f}         -", flush=True)


def training(batch: int, samples: int = 194560) -> tuple[float, float]:
    """(seconds of audio a second, peak MB): the four-stem recipe's network and loss in bf16-mixed, on noise, without data and averages."""
    task = SeparationTask(["vocals", "drums", "bass", "other"], "tdf_4096", FrontEndConfig(4096, 2048)).cuda()
    optimizer = torch.optim.AdamW(task.parameters())
    stems = 0.1 * torch.randn(batch, 5, 2, samples, device="cuda")

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = task.training_step(stems, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    task.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    spent, memory = device_seconds(step)
    return batch * samples / RATE / spent, memory


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.add_argument("song", type=Path)
    path = parser.parse_args().song
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here")
    print(f"{torch.cuda.get_device_name()}; {machine()}, {torch.get_num_threads()} threads")
    agreement(song(path, 30))
    inference(song(path, SECONDS))
    print("\ntraining, bf16-mixed   seconds of audio a second   peak MB")
    for batch in (6, 24, 48, 96):
        try:
            rate, memory = training(batch)
        except torch.cuda.OutOfMemoryError as error:
            print(f"batches of {batch:>3}  {error}", flush=True)
            continue
        print(f"batches of {batch:>3}{rate:>30.0f}{memory:>16.0f}", flush=True)


if __name__ == "__main__":
    main()
