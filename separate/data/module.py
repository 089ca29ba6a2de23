"""Lightning data module over folders of stems: random mixes to train on, whole songs to validate on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from separate.data.mixer import MixConfig, RandomMixes, Segments, passed_on
from separate.data.stems import Song, find_songs
from separate.errors import AudioError

log = logging.getLogger(__name__)
VALIDATION_SECONDS = 12


class StemsData(LightningDataModule):
    """Songs under `root`/train and `root`/valid (see separate.data.stems). No song may stand in both: at the same path below them, with the
    same name in a source of the same name, or as a link to the same folder.

    samples: length of a training example at `rate` Hz; examples: training examples drawn an epoch, new ones every epoch, the same for
    the same seed. Use it with the trainer's `reload_dataloaders_every_n_epochs: 1`. uses: how often each example of a batch is trained,
    first as drawn, then with other examples' vocals (see separate.data.mixer.passed_on), for devices that train faster than examples can
    be drawn. A step then trains `uses` times `batch_size` examples. Not with ReLIC, to which other examples are negatives.
    """

    def __init__(
        self,
        root: Path,
        targets: list[str],
        rate: int = 44100,
        samples: int = 130048,
        batch_size: int = 8,
        examples: int = 1024,
        seed: int = 0,
        workers: int = 1,
        uses: int = 1,
        mix: MixConfig | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= uses <= batch_size:
            raise ValueError(f"uses is {uses}: it must be 1 or more, and at most batch_size, here {batch_size}")
        if uses > 1 and "vocals" not in targets:
            raise ValueError(f"uses is {uses}, but vocals, which each use exchanges, are not among the targets")
        self.root, self.targets, self.rate, self.samples = root, tuple(targets), rate, samples
        self.batch_size, self.examples, self.seed, self.workers, self.uses = batch_size, examples, seed, workers, uses
        self.mix = mix or MixConfig()
        self.train_songs: list[Song] = []
        self.valid_songs: list[Song] = []

    def find_songs(self) -> tuple[list[Song], list[Song]]:
        """Training and validation songs. Raises AudioError if a song stands in both."""
        train, valid = (find_songs(self.root / split, self.rate) for split in ("train", "valid"))
        if both := _identities(train, self.root / "train") & _identities(valid, self.root / "valid"):
            raise AudioError(f"in train and in valid: {', '.join(sorted(both))}")
        return train, valid

    def setup(self, stage: str) -> None:
        self.train_songs, self.valid_songs = self.find_songs()
        weighed = {name.partition("/")[0] for name in self.mix.source_weights}
        if absent := weighed - {song.source for song in self.train_songs}:
            log.warning("source_weights: no training song comes from %s", ", ".join(sorted(absent)))

    def train_set(self, epoch: int) -> RandomMixes:
        seed = self.seed * 100_003 + epoch
        return RandomMixes(self.train_songs, self.targets, self.samples, self.examples, seed, self.mix)

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        return DataLoader(self.train_set(epoch), self.batch_size, num_workers=self.workers, drop_last=True)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.uses == 1 or self.trainer is None or not self.trainer.training:
            return batch
        return passed_on(batch, self.targets.index("vocals"), self.uses, self.rate)

    def val_dataloader(self) -> DataLoader[tuple[int, torch.Tensor]]:
        return DataLoader(Segments(self.valid_songs, self.targets, VALIDATION_SECONDS * self.rate), batch_size=1)


def _identities(songs: Sequence[Song], folder: Path) -> set[str]:
    """SOURCE/SONG, the path in the folder of a split, which differs for songs that lie in it directly or deep, and where links lead."""
    names = {f"{song.source}/{song.name}" for song in songs} | {song.folder.relative_to(folder).as_posix() for song in songs}
    return names | {song.folder.resolve().as_posix() for song in songs}
