"""A network's input statistics, taken from the examples it is going to be trained on."""

from __future__ import annotations

import torch

from separate.data.mixer import known
from separate.data.module import StemsData
from separate.frontend import FrontEnd
from separate.models.mmdensenet import MMDenseNet

EXAMPLES = 64


def take_statistics(network: MMDenseNet, front_end: FrontEnd, data: StemsData) -> None:
    """Standardise a network's input, unless it has been: from the same examples in every process."""
    if bool((network.input_scale == 1).all()):
        mixes = data.train_set(0)
        waves = torch.stack([known(mixes[i])[0].sum(0) for i in range(min(EXAMPLES, len(mixes)))])
        network.standardise(front_end.stft(waves.to(network.input_scale.device)).abs())
