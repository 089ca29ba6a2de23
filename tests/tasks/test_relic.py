import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

from separate.augment.spectrogram import Gain, Tilt
from separate.errors import ModelError
from separate.frontend import FrontEndConfig
from separate.losses.relic import momentum
from separate.models.config import PRESETS
from separate.models.mmdensenet import MMDenseNet
from separate.tasks.features import load_vgg
from separate.tasks.relic import BottleneckEncoder, Invariance, RelicTask, VGGEncoder, kept_statistics
from separate.tasks.separation import SeparationTask
from tests.conftest import random_network, tiny_config

FRONT_END = FrontEndConfig(512, 256)


class Noises(LightningDataModule):
    """Sixteen examples [stems, channels, samples], every one a tone of its own pitch in noise."""

    valid_songs = ()

    def train_set(self, epoch: int) -> torch.Tensor:
        torch.manual_seed(epoch)
        time = torch.arange(8192) / 8192
        tones = torch.sin(2 * torch.pi * 60 * torch.arange(1, 17)[:, None] * time)
        return torch.stack((tones[:, None].expand(-1, 2, -1), 0.3 * torch.randn(16, 2, 8192)), dim=1)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(list(self.train_set(0)), 8)


def trainer(folder: Path, epochs: int, **arguments) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        limit_val_batches=0,
        **arguments,
    )


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", tiny_config())


def test_pre_training_learns_to_tell_examples_apart(tmp_path: Path, tiny_preset: None) -> None:
    torch.manual_seed(0)
    task = RelicTask(Invariance([Gain(), Tilt()]), "tiny", front_end=FRONT_END, learning_rate=3e-3)
    seen = []
    task.log_dict = lambda terms, **_: seen.append(terms["train/contrastive"].item())
    trainer(tmp_path, 40).fit(task, Noises())
    chance = math.log(8)  # eight examples a batch
    assert sum(seen[-8:]) / 8 < 0.5 * chance < 0.8 * chance < seen[0]


@pytest.mark.parametrize("kind", ["pre-training", "regulariser"])
def test_the_target_has_the_input_statistics_from_the_first_step_on(tmp_path: Path, tiny_preset: None, kind: str) -> None:
    invariance = Invariance([Gain()])
    if kind == "pre-training":
        task: Any = RelicTask(invariance, "tiny", front_end=FRONT_END)
    else:
        task = SeparationTask(["vocals"], "tiny", FRONT_END, regulariser=invariance)
    step, seen = task.training_step, []

    def watched(*arguments: Any) -> torch.Tensor:
        seen.append([buffer.clone() for name, buffer in task.named_buffers() if name.endswith("input_scale")])
        return step(*arguments)

    task.training_step = watched
    trainer(tmp_path, 1, limit_train_batches=1).fit(task, datamodule=Noises())
    assert all((scale != 1).any() for scale in seen[0])
    assert len(seen[0]) == 2 and torch.equal(*seen[0])


@pytest.mark.parametrize("kind", ["pre-training", "regulariser"])
def test_music_that_is_used_again_would_be_a_negative(tmp_path: Path, tiny_preset: None, kind: str) -> None:
    invariance, data = Invariance([Gain()]), Noises()
    pre_training = RelicTask(invariance, "tiny", front_end=FRONT_END) if kind == "pre-training" else None
    data.uses = 2
    with pytest.raises(ValueError, match="uses is 2: with ReLIC"):
        trainer(tmp_path, 1).fit(pre_training or SeparationTask(["vocals"], "tiny", FRONT_END, regulariser=invariance), datamodule=data)


def test_pre_training_needs_no_warm_up(tiny_preset: None) -> None:
    task = RelicTask(Invariance([Gain()]), "tiny", front_end=FRONT_END, learning_rate=0.1, warmup_steps=0)
    assert task.configure_optimizers()["optimizer"].param_groups[0]["lr"] == 0.1


def test_the_target_follows_the_encoder_and_is_not_trained(tiny_preset: None) -> None:
    encoder = BottleneckEncoder(random_network(tiny_config()))
    invariance = Invariance([Gain()])
    invariance.attach(encoder, encoder.size)
    before = invariance.target.network[0].network.head.weight.clone()
    encoder.network.head.weight.data += 1
    invariance.follow(encoder, 1, 10)
    invariance.follow(encoder, 1, 10)  # the same step: once
    expected = before + (1 - momentum(1, 10))
    torch.testing.assert_close(invariance.target.network[0].network.head.weight, expected)
    invariance(encoder, torch.rand(4, 2, 257, 16)).total.backward()
    assert all(parameter.grad is None for parameter in invariance.target.parameters())
    assert encoder.network.full.bottleneck.layers[0][0].weight.grad.abs().max() > 0


def test_a_pre_trained_vgg_gives_the_feature_loss_its_weights(tmp_path: Path) -> None:
    task = RelicTask(Invariance([Gain()]), "vgg11", "relu2_1", FRONT_END)
    runner = trainer(tmp_path, 1)
    runner.fit(task, Noises())
    runner.save_checkpoint(tmp_path / "vgg.ckpt")
    features = load_vgg("vgg11", ("relu2_1",), str(tmp_path / "vgg.ckpt"))
    torch.testing.assert_close(features.layers[3].weight.data, task.encoder.features[3].weight.data)


def test_embeddings_do_not_depend_on_level_for_a_vgg() -> None:
    encoder, magnitude = VGGEncoder("vgg11", "relu2_1").eval(), torch.rand(2, 2, 257, 32)
    torch.testing.assert_close(encoder(10 * magnitude), encoder(magnitude), atol=1e-4, rtol=1e-3)
    assert encoder(magnitude).shape == (2, encoder.size)


def test_a_stretch_of_frames_is_enough_and_moves_on() -> None:
    seen: list[torch.Tensor] = []

    def encoder(magnitude: torch.Tensor) -> torch.Tensor:
        seen.append(magnitude)
        return magnitude.flatten(1)

    invariance = Invariance([], frames=16)
    invariance.projector, invariance.target = torch.nn.Identity(), encoder
    counting = torch.arange(64.0).expand(2, 1, 1, 64)
    for _ in range(8):
        invariance(encoder, counting)
    assert all(magnitude.shape[-1] == 16 for magnitude in seen)
    firsts = [int(magnitude[0, 0, 0, 0]) for magnitude in seen]
    assert all(len(set(firsts[i : i + 4])) == 1 for i in range(0, 32, 4))  # all views of one batch see the same stretch
    assert len(set(firsts)) > 2


def pre_training(invariance: Invariance) -> RelicTask:
    return RelicTask(invariance, "vgg11", "relu1_1", FRONT_END)


def regularised(invariance: Invariance) -> SeparationTask:
    task = SeparationTask(["vocals"], tiny_config(), FRONT_END, regulariser=invariance)
    task.network.standardise(torch.rand(2, 2, 257, 50))
    return task


@pytest.mark.parametrize("make", [pre_training, regularised])
def test_processes_draw_views_of_their_own(
    make: Callable[[Invariance], RelicTask | SeparationTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = []
    for rank in (0, 1, 0):
        invariance = Invariance([Gain()], seed=3)
        task = make(invariance)
        monkeypatch.setattr(type(task), "global_rank", rank)
        monkeypatch.setattr(type(task), "trainer", SimpleNamespace(datamodule=None))
        task.on_fit_start()
        draws.append(torch.rand(4, generator=invariance.generator))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


def test_an_unknown_encoder_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no encoder named foo; there are vgg11, .*vgg19, .*strided"):
        RelicTask(Invariance([Gain()]), "foo")


def test_pre_training_leaves_no_weight_without_a_gradient(tiny_preset: None) -> None:
    """Several processes need that."""
    task = RelicTask(Invariance([Gain()]), "tiny", front_end=FRONT_END)
    task.log = task.log_dict = lambda *_, **__: None
    task.training_step(torch.randn(4, 2, 2, 8192), 0).backward()
    trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
    assert trained and all(parameter.grad is not None for parameter in trained)


def test_a_pre_trained_encoder_starts_a_separator(tmp_path: Path, tiny_preset: None) -> None:
    task = RelicTask(Invariance([Gain()]), "tiny", front_end=FRONT_END)
    runner = trainer(tmp_path, 1)
    runner.fit(task, Noises())
    runner.save_checkpoint(tmp_path / "encoder.ckpt")
    separation = SeparationTask(["vocals", "drums"], tiny_config(), FRONT_END, initial_encoder=tmp_path / "encoder.ckpt")
    theirs = task.encoder.network
    assert torch.equal(separation.network.full.bottleneck.layers[0][0].weight, theirs.full.bottleneck.layers[0][0].weight)
    assert torch.equal(separation.network.input_scale, theirs.input_scale)
    with pytest.raises(ModelError, match="no encoder"):
        SeparationTask(["vocals"], "strided", initial_encoder=tmp_path / "encoder.ckpt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"no checkpoint", "is damaged, or not a training checkpoint (UnpicklingError)"),
        ({"weights": {}}, "is damaged, or not a training checkpoint (KeyError)"),
        ({"state_dict": {"encoder.network.input_mean": 1.0}}, "is damaged, or not a training checkpoint (TypeError)"),
        ({"state_dict": {"network.input_mean": torch.zeros(1)}}, "holds no encoder; ReLIC's pre-training makes checkpoints that do"),
    ],
)
def test_a_checkpoint_without_an_encoder_is_named_in_one_line(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelError) as caught:
        SeparationTask(["vocals"], tiny_config(), FRONT_END, initial_encoder=path)
    assert str(caught.value) == f"{path}: {reason}"


def test_views_leave_no_trace_in_the_statistics() -> None:
    network = MMDenseNet(tiny_config())
    before = network.full.stem[1].running_mean.clone()
    with kept_statistics(network):
        network.embed(torch.rand(2, 2, 257, 16))
    assert torch.equal(network.full.stem[1].running_mean, before)
    network.embed(torch.rand(2, 2, 257, 16))
    assert not torch.equal(network.full.stem[1].running_mean, before)


def test_the_separator_trains_with_the_regulariser_and_its_averaged_weights_stand_alone(tmp_path: Path) -> None:
    task = SeparationTask(["vocals"], tiny_config(), FRONT_END, regulariser=Invariance([Gain(), Tilt()]), regulariser_weight=0.5)
    names = set()
    task.log_dict = lambda found, **_: names.update(found)
    runner = trainer(tmp_path, 2, callbacks=[EMAWeightAveraging(decay=0.5)])
    runner.fit(task, Noises())
    runner.save_checkpoint(tmp_path / "both.ckpt")
    assert names == {"train/contrastive", "train/invariance"}
    state = torch.load(tmp_path / "both.ckpt", weights_only=True)["state_dict"]
    own = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    assert own.keys() == task.network.state_dict().keys()
