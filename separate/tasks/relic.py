"""ReLIC as a task of its own (pre-training an encoder, no labels) and as a regulariser beside another task.

Both give an encoder several views of the same magnitudes and compare the projections with those of its moving average: see
separate.losses.relic for the objective and separate.augment.spectrogram for the views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from separate.augment.spectrogram import Compose, View
from separate.data.mixer import known
from separate.errors import ModelError
from separate.frontend import FrontEnd, FrontEndConfig
from separate.losses.feature import PictureConfig, picture
from separate.losses.relic import RelicTerms, TargetNetwork, momentum, relic
from separate.models.config import PRESETS
from separate.models.mmdensenet import MMDenseNet
from separate.models.projector import Projector
from separate.models.vgg import NAMES, convolutions, layer_place
from separate.tasks.input_statistics import take_statistics


def check_negatives(data: Any) -> None:
    """Raises ValueError if examples of a batch share their music (StemsData's `uses`): ReLIC would push the same sound apart."""
    if getattr(data, "uses", 1) > 1:
        raise ValueError(f"uses is {data.uses}: with ReLIC every example of a batch must be another one")


class VGGEncoder(nn.Module):
    """Magnitudes [batch, channels, bins, frames] -> [batch, size]: mean and maximum of the maps of a VGG's layer `last`, trainable.

    The picture is the feature loss's, in grey; `features` is named as in torchvision, so that a checkpoint gives weights for that loss.
    """

    def __init__(self, name: str = "vgg19", last: str = "relu3_1", picture: PictureConfig | None = None) -> None:
        super().__init__()
        features = convolutions(name)
        self.features = features[: layer_place(name, features, last) + 1]
        self.picture = picture or PictureConfig(top=0.5, pool=(2, 2))
        self.size = 2 * [layer for layer in self.features if isinstance(layer, nn.Conv2d)][-1].out_channels

    def forward(self, magnitude: Tensor) -> Tensor:
        level = magnitude.square().mean((1, 2, 3), keepdim=True).sqrt()
        maps = self.features(picture(magnitude, level, self.picture).expand(-1, 3, -1, -1))
        return torch.cat((maps.mean((2, 3)), maps.amax((2, 3))), dim=1)


class BottleneckEncoder(nn.Module):
    """A separator's bottleneck as an encoder: see MMDenseNet.embed. `alone`: nothing beyond the bottleneck will be trained."""

    def __init__(self, network: MMDenseNet, alone: bool = False) -> None:
        super().__init__()
        self.network, self.size = network, network.embedding_size
        if alone:
            network.after_bottleneck().requires_grad_(False)

    def forward(self, magnitude: Tensor) -> Tensor:
        return self.network.embed(magnitude)


def encoder_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of the encoder in a checkpoint of RelicTask, by their names in it. Raises ModelError where there are none to be had."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        found = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
        if not all(isinstance(tensor, Tensor) for tensor in found.values()):
            raise TypeError("not all of its state are tensors")
    except OSError as error:
        raise ModelError(f"{checkpoint}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # there is nothing that a damaged pickle may not raise
        raise ModelError(f"{checkpoint}: is damaged, or not a training checkpoint ({type(error).__name__})") from error
    if not found:
        raise ModelError(f"{checkpoint}: holds no encoder; ReLIC's pre-training makes checkpoints that do")
    return found


class Invariance(nn.Module):
    """ReLIC's objective for an encoder, with projector and target network of its own. alpha 0 is SimCLR with a moving target.

    views: transforms, each applied with `probability`; every one of the `pairs` takes two new views of each example, or, where `frames` is
    given, of a stretch of so many frames, another one in every batch.
    """

    def __init__(
        self,
        views: Sequence[View],
        probability: float = 0.8,
        temperature: float = 0.1,
        alpha: float = 1.0,
        pairs: int = 2,
        symmetric: bool = False,
        base_momentum: float = 0.996,
        frames: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.views, self.pairs, self.frames, self.seed = Compose(tuple(views), probability), pairs, frames, seed
        self.temperature, self.alpha, self.symmetric, self.base_momentum = temperature, alpha, symmetric, base_momentum
        self.generator = torch.Generator().manual_seed(seed)
        self.followed = 0  # step of the last `follow`

    def attach(self, encoder: nn.Module, size: int) -> None:
        """Make projector and target for an encoder whose embeddings have `size` numbers."""
        self.projector = Projector(size)
        self.target = TargetNetwork(nn.Sequential(encoder, self.projector))

    def forward(self, encoder: nn.Module, magnitude: Tensor) -> RelicTerms:
        """The terms for magnitudes [batch, channels, bins, frames]."""
        if self.frames is not None and self.frames < magnitude.shape[-1]:
            first = int(torch.randint(magnitude.shape[-1] - self.frames + 1, (), generator=self.generator))
            magnitude = magnitude[..., first : first + self.frames]
        online = [self.projector(encoder(self.views(magnitude, self.generator))) for _ in range(self.pairs)]
        target = [self.target(self.views(magnitude, self.generator)) for _ in range(self.pairs)]
        return relic(torch.stack(online), torch.stack(target), self.temperature, self.alpha, self.symmetric)

    def part(self, rank: int) -> None:
        """Let this process draw views of its own."""
        self.generator.manual_seed(self.seed + 1_000_003 * rank)

    def begin(self, encoder: nn.Module) -> None:
        """Give the target what is not trained: the encoder may have taken input statistics since it was attached."""
        self.target.update(nn.Sequential(encoder, self.projector), 1.0)

    def follow(self, encoder: nn.Module, step: int, steps: float) -> None:
        """Move the target towards the encoder, once for each optimiser's step however often it is called; `steps` may be infinite."""
        if step == self.followed:
            return
        self.followed = step
        self.target.update(nn.Sequential(encoder, self.projector), momentum(step, steps, self.base_momentum))


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms normalise by the batch, but do not remember it: views are not what the network will meet."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, value in zip(norms, momenta, strict=True):
            norm.momentum = value


class RelicTask(LightningModule):
    """Pre-training on mixtures and single stems alike, without labels.

    encoder: "vgg19" (or another VGG), up to the layer `last`; or the name of a separator's preset, whose bottleneck is trained. AdamW, with
    a linear warm-up. Raises ValueError on an encoder that is neither.
    """

    def __init__(
        self,
        invariance: Invariance,
        encoder: str = "vgg19",
        last: str = "relu3_1",
        front_end: FrontEndConfig | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 10,
    ) -> None:
        super().__init__()
        if encoder not in (*NAMES, *PRESETS):
            raise ValueError(f"no encoder named {encoder}; there are {', '.join((*NAMES, *PRESETS))}")
        self.encoder: BottleneckEncoder | VGGEncoder
        self.encoder = BottleneckEncoder(MMDenseNet(PRESETS[encoder]), alone=True) if encoder in PRESETS else VGGEncoder(encoder, last)
        self.invariance, self.front_end = invariance, FrontEnd(front_end)
        self.invariance.attach(self.encoder, self.encoder.size)
        self.learning_rate, self.weight_decay, self.warmup_steps = learning_rate, weight_decay, warmup_steps

    def on_fit_start(self) -> None:
        """Views of this process; a separator's input statistics, as its own training takes them."""
        check_negatives(cast(Any, self.trainer).datamodule)
        self.invariance.part(self.global_rank)
        if isinstance(self.encoder, BottleneckEncoder):
            take_statistics(self.encoder.network, self.front_end, cast(Any, self.trainer).datamodule)
            self.invariance.begin(self.encoder)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """batch [examples, stems, channels, samples]: of each example one stem, or the sum of all."""
        batch, _ = known(batch)
        choice = torch.randint(batch.shape[1] + 1, (len(batch),), device=batch.device)
        rows = torch.cat((batch, batch.sum(1, keepdim=True)), dim=1)[torch.arange(len(batch)), choice]
        silent = rows.abs().amax((1, 2)) < 1e-4
        rows[silent] = batch[silent].sum(1)
        terms: RelicTerms = self.invariance(self.encoder, self.front_end.stft(rows).abs())
        self.log_dict({"train/contrastive": terms.contrastive, "train/invariance": terms.invariance})
        self.log("train/loss", terms.total, prog_bar=True)
        return terms.total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.invariance.follow(self.encoder, self.global_step, self.trainer.estimated_stepping_batches)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [*(p for p in self.encoder.parameters() if p.requires_grad), *self.invariance.projector.parameters()]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, self.warmup_steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
