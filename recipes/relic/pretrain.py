"""Pre-training by ReLIC: `python -m recipes.relic.pretrain fit --config recipes/relic/vgg.yaml --data.init_args.root SONGS`.

LightningCLI, as `recipes.train`. The checkpoint gives the feature loss its weights (`weights: CHECKPOINT`), or, of a separator's preset,
the separation task its start (`--model.initial_encoder CHECKPOINT`).
"""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI

from separate.data.module import StemsData
from separate.quota import heed
from separate.tasks.relic import RelicTask


def main(arguments: list[str] | None = None) -> None:
    """Run LightningCLI on the given arguments, or the command line's."""
    heed()
    LightningCLI(RelicTask, StemsData, subclass_mode_data=True, seed_everything_default=0, args=arguments)


if __name__ == "__main__":
    main()
