"""A small model with random weights, and sounds to separate."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from separate import Separator
from separate.frontend import FrontEndConfig
from separate.models.config import MMDenseNetConfig, PathConfig
from separate.models.mmdensenet import MMDenseNet, TimeDistributed
from separate.pretrained import Card

RATE = 44100

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # two processes test side by side
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for those that they start


def tiny_config(stems: int = 1, output: str = "mask") -> MMDenseNetConfig:
    blocks = ((4, 2), (5, 1), (4, 2))
    return MMDenseNetConfig(
        bands=(PathConfig(0, 64, 8, (4, 3), blocks, stem_stride=2), PathConfig(64, 257, 6, (4, 3), ((4, 2),) * 5, stem_stride=4)),
        full=PathConfig(0, 257, 6, (4, 3), blocks, stem_stride=4),
        merge_channels=6,
        final=(6, 2),
        stems=stems,
        compression=0.5,
        output=output,
    )


def apart_config(stems: int = 1, output: str = "mask") -> MMDenseNetConfig:
    """tiny_config with bands that keep their own strides up to the output, and TDF layers."""
    config = tiny_config(stems, output)
    low = replace(config.bands[0], stem_stride=1, stem_kernel=(5, 3))
    return replace(config, bands=(low, config.bands[1]), endings=((5, 6, 3), (4, 6, 1)), tdf=3)


def random_network(config: MMDenseNetConfig) -> MMDenseNet:
    """Random weights and batch statistics, as after training."""
    torch.manual_seed(0)
    network = MMDenseNet(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.05, 0.2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
        if isinstance(module, TimeDistributed):
            module.spread.weight.data.normal_(0, 0.3)
    network.standardise(torch.rand(2, config.channels, config.bins, 50))
    return network


def store_model(folder: Path, stems: tuple[str, ...] = ("vocals",), rate: int = RATE) -> Path:
    network = random_network(tiny_config(len(stems)))
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items() if "num_batches" not in k}, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    Card("tiny", "for tests", "MIT", stems, rate, FrontEndConfig(512, 256), network.config, digest).write(folder)
    return folder


def sound(seconds: float, channels: int = 2, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """float32 [samples, channels]: a gliding tone in noise."""
    count = max(1, round(seconds * rate))
    noise = np.random.default_rng(seed).normal(0, 0.05, (count, channels))
    time = np.arange(count)[:, None] / rate
    return (noise + 0.3 * np.sin(2 * np.pi * (300 + 100 * time) * time)).astype(np.float32)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def two_stem_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_model(tmp_path_factory.mktemp("models") / "two", ("vocals", "drums"))


@pytest.fixture(scope="session")
def separator(model: Path) -> Separator:
    return Separator.load(model, "cpu", "float32")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, sound(3.0), RATE)
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases there were."""
    ran = sum(len(reports) for outcome, reports in terminalreporter.stats.items() if outcome in ("passed", "failed"))
    terminalreporter.write_line(f"{ran} cases")
