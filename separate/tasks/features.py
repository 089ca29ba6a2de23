"""Where the feature network's weights come from."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from separate.errors import ModelError
from separate.models.vgg import VGGFeatures


def load_vgg(name: str = "vgg19", taps: tuple[str, ...] = ("relu1_2", "relu2_2"), weights: str = "imagenet", seed: int = 0) -> VGGFeatures:
    """A frozen VGG up to its last tap.

    weights: "imagenet", torchvision's, downloaded once; "random", drawn from `seed`; or a file: safetensors, or a checkpoint of ours, with
    torchvision's names after any prefix that ends in "features.". Raises ModelError if they cannot be had or do not fit.
    """
    try:
        return VGGFeatures(name, taps, None if weights == "random" else _read(name, weights), seed)
    except ValueError as error:
        raise ModelError(f"{weights}: {error}") from error


def _read(name: str, weights: str) -> dict[str, Tensor]:
    """Tensors named as in torchvision's `features`."""
    if weights == "imagenet":
        from torchvision.models import get_model_weights

        try:
            tensors = get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=False)
        except (URLError, OSError) as error:
            raise ModelError(
                f"torchvision's weights of {name} could not be downloaded ({error}); give a safetensors file, or weights: random"
            ) from error
    else:
        try:
            tensors = load_file(weights) if Path(weights).suffix == ".safetensors" else _checkpoint(weights)
        except (OSError, EOFError, SafetensorError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelError(f"{weights}: cannot be read as weights of a VGG ({type(error).__name__}: {reason})") from error
    named = sorted((key for key in tensors if "features." in key), key=len, reverse=True)
    return {key.rpartition("features.")[2]: tensors[key] for key in named}  # of several networks the one with the shortest prefix


def _checkpoint(path: str) -> dict[str, Tensor]:
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise TypeError("its state_dict holds no tensors")
    return state
