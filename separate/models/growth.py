"""A larger network out of a trained one, which at first does what that did: with TDF layers, or with more layers in its bottlenecks.

What is new hands on nothing until it is trained: the last layer's weights on the maps of new layers before it are zero (Chen et al.,
"Net2Net", ICLR 2016, arXiv 1511.05641, for the idea).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from separate.models.config import MMDenseNetConfig, PathConfig
from separate.models.mmdensenet import MMDenseNet


def outgrows(large: MMDenseNetConfig, small: MMDenseNetConfig) -> bool:
    """Whether `large` is `small` with TDF layers or more layers in the bottlenecks, or the very same."""
    if len(large.bands) != len(small.bands) or (small.tdf and not 0 < large.tdf <= small.tdf):
        return False
    pairs = list(zip(small.paths, large.paths, strict=True))
    *bands, full = (_with_bottleneck(path, large_path) for path, large_path in pairs)
    deep_enough = all(_bottleneck(large_path)[1] >= _bottleneck(path)[1] for path, large_path in pairs)
    return deep_enough and replace(small, bands=tuple(bands), full=full, tdf=large.tdf) == large


def grow(large: MMDenseNet, small: MMDenseNet) -> None:
    """Give `large`, which outgrows `small` and has as many stems, its weights; what is new stays as it was drawn."""
    state, own = dict(small.state_dict()), large.state_dict()
    names = [*(f"bands.{number}" for number in range(len(large.config.bands))), "full"]
    for name, path, large_path in zip(names, small.config.paths, large.config.paths, strict=True):
        _renumber(state, own, f"{name}.bottleneck.layers", _bottleneck(path)[1] - 1, _bottleneck(large_path)[1] - 1)
    for name in [name for name in state if ".tdf." in name]:
        state[name] = _with_hidden(state[name], own[name], name.endswith("spread.weight"))
    large.load_state_dict({**own, **state})


def _with_hidden(tensor: Tensor, own: Tensor, spread: bool) -> Tensor:
    """A TDF layer's tensor with more hidden rows, which spread nothing."""
    if spread:
        return pad(tensor, (0, own.shape[1] - tensor.shape[1]))
    return torch.cat([tensor, own[len(tensor) :]])


def _renumber(state: dict[str, Tensor], own: Mapping[str, Tensor], layers: str, last: int, new_last: int) -> None:
    """The last layer's tensors under its new number, zeros where it now sees more maps."""
    for name in [name for name in state if name.startswith(f"{layers}.{last}.")]:
        tensor = state.pop(name)
        new = name.replace(f"{layers}.{last}.", f"{layers}.{new_last}.")
        missing = own[new].shape[1] - tensor.shape[1] if tensor.dim() == 4 else 0
        state[new] = pad(tensor, (0, 0, 0, 0, 0, missing)) if missing else tensor


def _bottleneck(path: PathConfig) -> tuple[int, int]:
    return path.blocks[path.halvings]


def _with_bottleneck(path: PathConfig, other: PathConfig) -> PathConfig:
    if path.halvings != other.halvings:
        return path
    middle, (growth, _), (_, layers) = path.halvings, _bottleneck(path), _bottleneck(other)
    return replace(path, blocks=(*path.blocks[:middle], (growth, layers), *path.blocks[middle + 1 :]))
