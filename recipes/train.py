"""The command line of all separation recipes: `python -m recipes.train fit --config recipes/opencorpus/vocals.yaml --data.root DATA`.

LightningCLI: every setting of the YAML can be overridden by an option; `--ckpt_path runs/opencorpus-vocals/checkpoints/last.ckpt` resumes.
"""

from __future__ import annotations

import warnings
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from separate.data.module import StemsData
from separate.quota import heed
from separate.tasks.separation import SeparationTask


class RecipeCLI(LightningCLI):
    """The targets are named once, on the model."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Hand the model's targets to the data."""
        parser.link_arguments("model.targets", "data.init_args.targets")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Programs that hand arguments over have others of their own, which is no mistake to warn of."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LightningCLI's args parameter")
            super().parse_arguments(parser, args)


def main(arguments: list[str] | None = None) -> None:
    """Run LightningCLI on the given arguments, or the command line's."""
    heed()
    RecipeCLI(SeparationTask, StemsData, subclass_mode_data=True, seed_everything_default=0, args=arguments)


if __name__ == "__main__":
    main()
