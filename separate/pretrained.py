"""Model cards and weights: list, verify, load. A model is a folder with `card.json` and `model.safetensors`, nothing else is read.

Weights are data: JSON and safetensors only, the file's sha256 checked against the card before a tensor is made, every tensor's shape
against the network that the card describes before memory is taken for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from separate.errors import ModelError
from separate.frontend import FrontEndConfig
from separate.models.mmdensenet import MMDenseNet, MMDenseNetConfig, PathConfig

PACKAGE = Path(__file__).parent
FOLDERS = (PACKAGE / "shipped", PACKAGE.parent / "pretrained")  # in an installed package, in a checkout
DEFAULT = "vocals-open"
MAX_CARD_BYTES = 1 << 20
MAX_LAYERS = 64
MAX_NUMBER = 1 << 17  # nothing in an architecture or front-end is larger


@dataclass(frozen=True)
class Card:
    """What binds weights to rate, stems and front-end, and says where they come from.

    sources: one entry a training source with name, licence, credit and minutes. scores: one entry a figure with data, protocol, value and
    command. Both, and `training`, are for people; nothing is computed from them.
    """

    name: str
    description: str
    licence: str
    stems: tuple[str, ...]
    rate: int
    front_end: FrontEndConfig
    network: MMDenseNetConfig
    sha256: str
    sources: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)

    @property
    def offers(self) -> tuple[str, ...]:
        """Stems that can be asked for: the model's, and what is left without the vocals."""
        return (*self.stems, "accompaniment") if "vocals" in self.stems else self.stems

    def write(self, folder: Path) -> None:
        """Store as `folder`/card.json."""
        (folder / "card.json").write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """The card in a model's folder. Raises ModelError where it is not there, not a card, or asks for absurd sizes."""
    path = folder / "card.json"
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise ModelError(f"{path}: too large for a model card")
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: is not a model, it has no card.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as a model card ({error})") from error
    try:
        card = Card(
            **{key: value for key, value in entries.items() if key not in ("stems", "front_end", "network")},
            stems=tuple(entries["stems"]),
            front_end=FrontEndConfig(**_small(entries["front_end"])),
            network=_network(_small(entries["network"])),
        )
        _check(card)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: is not a valid model card ({error})") from error
    return card


def available() -> list[Card]:
    """Cards of the models that came with the package."""
    folders = sorted(path.parent for folder in FOLDERS for path in folder.glob("*/card.json"))
    return [read_card(folder) for folder in folders]


def find(model: str | Path) -> Path:
    """The folder of a model given by name or path. Raises ModelError with the names there are."""
    for folder in FOLDERS:
        if isinstance(model, str) and Path(model).name == model and (folder / model / "card.json").is_file():
            return folder / model
    if Path(model).is_dir():
        return Path(model)
    names = ", ".join(card.name for card in available()) or "none"
    raise ModelError(f"no model {str(model)!r}: neither a folder nor one of those that came along ({names})")


def load(folder: Path, card: Card) -> MMDenseNet:
    """The network of a model's folder, in eval mode, batch norm not folded. Raises ModelError on any mismatch with the card."""
    path = folder / "model.safetensors"
    with torch.device("meta"):
        network = MMDenseNet(card.network)
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file.read)
        if digest != card.sha256:
            raise ModelError(f"{path}: is damaged or not the file of its card (sha256 {digest[:12]}..., card {card.sha256[:12]}...)")
        with safe_open(path, framework="pt") as weights:
            shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
            if shapes != {name: tuple(tensor.shape) for name, tensor in expected.items()}:
                raise ModelError(f"{path}: its tensors are not those of the network on its card")
            state = {name: weights.get_tensor(name) for name in shapes}
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: has no model.safetensors") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if any(tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()) for tensor in state.values()):
        raise ModelError(f"{path}: holds numbers that are not finite float32")
    counters = {name: torch.zeros((), dtype=torch.long) for name in network.state_dict() if name not in expected}
    network.load_state_dict({**state, **counters}, assign=True)
    return network.eval()


def _digest(read: Any) -> str:
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while piece := read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _network(entries: dict[str, Any]) -> MMDenseNetConfig:
    bands, full, final = tuple(_path(band) for band in entries["bands"]), _path(entries["full"]), _pair(entries["final"])
    return MMDenseNetConfig(**{**entries, "bands": bands, "full": full, "final": final})


def _path(entries: dict[str, Any]) -> PathConfig:
    blocks = tuple(_pair(block) for block in entries["blocks"])
    return PathConfig(**{**entries, "stem_kernel": _pair(entries["stem_kernel"]), "blocks": blocks})


def _pair(value: Any) -> tuple[int, int]:
    """(growth, layers) or (bins, frames): the second is always small."""
    first, second = value
    if not isinstance(first, int) or not isinstance(second, int) or first < 1 or not 1 <= second <= MAX_LAYERS:
        raise ValueError(f"{value} is out of range")
    return first, second


def _small(value: Any) -> Any:
    """The value, if all numbers in it could belong to a network and no list is long."""
    if isinstance(value, dict | list) and len(value) > 32:
        raise ValueError("too many entries")
    if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{value} is out of range")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _small(part)
    return value


def _check(card: Card) -> None:
    if not all(isinstance(text, str) and text for text in (card.name, card.licence, card.sha256, *card.stems)):
        raise ValueError("name, licence, sha256 and stems must be texts")
    if any(Path(text).name != text or text in (".", "..") for text in (card.name, *card.stems)):
        raise ValueError("names may not hold path separators")
    if len(card.stems) != card.network.stems or len(set(card.stems)) != len(card.stems) or "accompaniment" in card.stems:
        raise ValueError("its stems are not those of its network")
    if not isinstance(card.rate, int) or not 8000 <= card.rate <= 192000:
        raise ValueError(f"rate {card.rate}")
    if card.front_end.bins != card.network.bins:
        raise ValueError(f"{card.network.bins} bins where the front-end gives {card.front_end.bins}")
    if not 1 <= card.network.channels <= 2:
        raise ValueError(f"{card.network.channels} channels")
