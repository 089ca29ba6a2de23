"""Runs a measurement in a process of its own, so that its memory is its own, and says what the machine is."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def alone(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """(value, peak resident memory in MB) of a module-level function called in a fresh process; raises what it raised."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        value, peak = receiver.recv()
    except EOFError as error:
        raise RuntimeError(f"{function.__name__} died") from error
    finally:
        process.join()
    if isinstance(value, BaseException):
        raise value
    return value, peak


def _child(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    value: Any
    try:
        value = function(*arguments)
    except Exception as error:
        value = RuntimeError(f"{type(error).__name__}: {error}")
    sender.send((value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def pin_threads(threads: int) -> None:
    """Processes started from now on compute with so many threads. Their libraries read it as they load; setting it later is not enough."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def best_seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of some runs, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def machine() -> str:
    """One line: processor, cores, torch, commit."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    commit = git.stdout.strip() or "no checkout"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, torch {torch.__version__}, commit {commit}"
