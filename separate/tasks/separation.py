"""Training a separator: mixture in, stems' magnitudes out, loss on spectra, validation by SDR of whole songs.

The averaged weights that validate and ship come from Lightning's EMAWeightAveraging callback, set in the recipes.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn

from separate.data.mixer import known
from separate.data.module import StemsData
from separate.errors import ModelError
from separate.frontend import FrontEnd, FrontEndConfig, unit_phase, with_phase
from separate.losses.relic import RelicTerms
from separate.losses.spectrogram import BandL2
from separate.models.config import PRESETS, MMDenseNetConfig
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import load, read_card
from separate.tasks.input_statistics import take_statistics
from separate.tasks.relic import BottleneckEncoder, Invariance, check_negatives, encoder_weights, kept_statistics


class SeparationTask(LightningModule):
    """AdamW, linear warm-up, cosine decay to zero over the trainer's steps.

    network: a preset's name or a whole configuration; its `stems` become the number of targets. initial_model: a model's folder to start
    from, with the same network but for its stems and perhaps no TDF layers: stems that both have keep their masks. initial_encoder: a
    checkpoint of RelicTask, whose encoder it starts from. regulariser: ReLIC on the bottleneck's embeddings of views of the mixtures, times
    `regulariser_weight`, beside the loss.
    """

    def __init__(
        self,
        targets: list[str],
        network: str | MMDenseNetConfig = "strided",
        front_end: FrontEndConfig | None = None,
        loss: nn.Module | None = None,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        warmup_steps: int = 100,
        initial_model: Path | None = None,
        initial_encoder: Path | None = None,
        regulariser: Invariance | None = None,
        regulariser_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if isinstance(network, str):
            if network not in PRESETS:
                raise ValueError(f"no network named {network}; there are {', '.join(PRESETS)}")
            network = PRESETS[network]
        self.targets = tuple(targets)
        self.network = MMDenseNet(replace(network, stems=len(targets))).to(memory_format=torch.channels_last)
        self.front_end = FrontEnd(front_end)
        self.loss = loss or BandL2()
        self.learning_rate, self.weight_decay, self.warmup_steps = learning_rate, weight_decay, warmup_steps
        if initial_model is not None:
            self._start_from(initial_model)
        if initial_encoder is not None:
            self._take_encoder(initial_encoder)
        self.regulariser, self.regulariser_weight = regulariser, regulariser_weight
        if regulariser is not None:
            regulariser.attach(BottleneckEncoder(self.network), self.network.embedding_size)
        self.energies = torch.zeros(0)
        self.waited = self.stepped = 0.0
        self.clock = time.perf_counter()

    def _start_from(self, folder: Path) -> None:
        """Take over a model's weights. Raises ModelError if its network or front-end is another."""
        card = read_card(folder)
        config = self.network.config
        same = replace(card.network, stems=config.stems, tdf=config.tdf) == config and card.network.tdf in (0, config.tdf)
        if not same or card.front_end != self.front_end.config:
            raise ModelError(f"{folder}: its network or front-end is not the recipe's")
        state, own = load(folder, card).state_dict(), self.network.state_dict()
        channels = card.network.channels
        for name in filter(_of_a_head, list(state)):
            axis = 1 if name.endswith("weight") else 0
            theirs, head = dict(zip(card.stems, state[name].split(channels, axis), strict=True)), own[name].split(channels, axis)
            state[name] = torch.cat([theirs.get(target, mine) for target, mine in zip(self.targets, head, strict=True)], axis)
        self.network.load_state_dict({**own, **state})  # TDF layers that it has not do nothing at first

    def _take_encoder(self, checkpoint: Path) -> None:
        """Take over a pre-trained network, whose decoder is as it was drawn. Raises ModelError if it is another one or cannot be read.

        A checkpoint does not say with which front-end it was trained: only the number of bins is compared, not the hop.
        """
        prefix = "network."
        theirs = {name.removeprefix(prefix): tensor for name, tensor in encoder_weights(checkpoint).items() if name.startswith(prefix)}
        own = self.network.state_dict()
        heads = set(filter(_of_a_head, own))
        if {name: tensor.shape for name, tensor in theirs.items() if name not in heads} != {
            name: tensor.shape for name, tensor in own.items() if name not in heads
        }:
            raise ModelError(f"{checkpoint}: holds no encoder of the recipe's network")
        self.network.load_state_dict({**own, **{name: tensor for name, tensor in theirs.items() if name not in heads}})

    def on_fit_start(self) -> None:
        """The network's input statistics, unless it has them; views of this process."""
        if self.regulariser is not None:
            check_negatives(cast(Any, self.trainer).datamodule)
            self.regulariser.part(self.global_rank)
        take_statistics(self.network, self.front_end, cast(Any, self.trainer).datamodule)
        if self.regulariser is not None:
            self.regulariser.begin(BottleneckEncoder(self.network))

    def estimate(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Mixture [batch, channels, samples] -> (magnitudes [batch, stems, channels, bins, frames], its complex spectrum)."""
        spectrum = self.front_end.stft(mixture)
        return self.network(spectrum.abs()), spectrum

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        stems, there = known(batch)
        estimate, mixture = self.estimate(stems.sum(1))
        estimate = self._as_known(estimate, there[:, :-1])
        found: Tensor | dict[str, Tensor] = self.loss(estimate, self.front_end.stft(stems[:, :-1]), mixture[:, None])
        if isinstance(found, dict):
            self.log_dict({f"train/{name}": term for name, term in found.items()})
            found = torch.stack(list(found.values())).sum()
        if self.regulariser is not None:
            with kept_statistics(self.network):
                terms: RelicTerms = self.regulariser(BottleneckEncoder(self.network), mixture.abs())
            self.log_dict({"train/contrastive": terms.contrastive, "train/invariance": terms.invariance})
            found = found + self.regulariser_weight * terms.total
        self.log("train/loss", found, prog_bar=True)
        return found

    def _as_known(self, estimate: Tensor, there: Tensor) -> Tensor:
        """Estimates of stems that are known; where other stands for several (see separate.data.mixer), the sum of theirs for it."""
        if "other" not in self.targets:
            return estimate * there
        number = self.targets.index("other")
        other = torch.zeros_like(there)
        other[:, number] = there[:, number]
        return estimate * there + other * (estimate * (1 - there)).sum(1, keepdim=True)

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        now = time.perf_counter()
        if batch_idx:
            self.waited += now - self.clock
        self.clock = now

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Tensor, batch_idx: int) -> None:
        if self.regulariser is not None:
            self.regulariser.follow(BottleneckEncoder(self.network), self.global_step, self.trainer.estimated_stepping_batches)
        now = time.perf_counter()
        self.stepped += now - self.clock
        self.clock = now

    def on_train_epoch_end(self) -> None:
        """Share of the time that went by between steps, mostly waiting for data."""
        self.log("train/wait_share", self.waited / max(1e-9, self.waited + self.stepped))
        self.waited = self.stepped = 0.0

    def on_validation_epoch_start(self) -> None:
        songs = len(cast(StemsData, cast(Any, self.trainer).datamodule).valid_songs)
        self.energies = torch.zeros(songs, len(self.targets), 2, device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pieces = len(cast(Any, self.trainer.val_dataloaders).dataset)
        if batch_idx * self.trainer.world_size + self.global_rank >= pieces:
            return  # a piece again, so that every process has as many
        number, stems = int(batch[0]), batch[1]
        magnitudes, mixture = self.estimate(stems.sum(1))
        waves = self.front_end.istft(with_phase(magnitudes, unit_phase(mixture)[:, None]), stems.shape[-1])
        targets = stems[:, :-1]
        self.energies[number, :, 0] += targets.square().sum((0, 2, 3))
        self.energies[number, :, 1] += (targets - waves).square().sum((0, 2, 3))

    def on_validation_epoch_end(self) -> None:
        """Global SDR, 10 log10(target's energy / error's energy) in dB, of each validation song, and mean over those with the stem."""
        energies = cast(Tensor, self.trainer.strategy.reduce(self.energies, reduce_op="sum"))
        sdr = 10 * torch.log10(energies[..., 0] / (energies[..., 1] + 1e-8))  # [songs, targets]
        sdr = torch.where(energies[..., 0] > 0, sdr, torch.nan)
        for song, row in zip(cast(Any, self.trainer).datamodule.valid_songs, sdr, strict=True):
            title = f"valid_songs/{song.source}/{song.name}"
            self.log_dict({f"{title}/{name}": value.float() for name, value in zip(self.targets, row, strict=True)})
        means = {f"valid/sdr_{name}": value.float() for name, value in zip(self.targets, sdr.nanmean(0), strict=True)}
        self.log_dict({**means, "valid/sdr": sdr.nanmean().float()}, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [*self.network.parameters(), *(self.regulariser.projector.parameters() if self.regulariser else ())]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=self.weight_decay)
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise ValueError("the learning rate falls to zero at the end of the training: give trainer.max_steps or trainer.max_epochs")
        steps = max(1, int(self.trainer.estimated_stepping_batches))

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / max(1, self.warmup_steps)) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _of_a_head(name: str) -> bool:
    """Whether a network's tensor belongs to the layers that have maps for every stem."""
    return "head" in name.split(".")
