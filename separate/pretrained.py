"""Model cards and weights: list, verify, load. A model is a folder with `card.json` and `model.safetensors`, nothing else is read.

Weights are data: JSON and safetensors only, the file's sha256 checked against the card before a tensor is made, every tensor's shape
against the network that the card describes before memory is taken for it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from io import BufferedReader
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open

from separate.errors import ModelError
from separate.frontend import FrontEndConfig
from separate.models.config import MMDenseNetConfig
from separate.models.mmdensenet import MMDenseNet

PACKAGE = Path(__file__).parent
FOLDERS = (PACKAGE / "shipped", PACKAGE.parent / "pretrained")  # in an installed package, in a checkout
DEFAULT = "four-open"
MAX_CARD_BYTES = MAX_HEADER_BYTES = 1 << 20
MAX_NUMBER = 1 << 18  # nothing in an architecture or front-end is larger, nor a rate
MAX_KERNEL = 64
MAX_LAYERS = 512  # of the whole network
MAX_CONTEXT = 1 << 10  # frames
MAX_OVERLAP = 32  # windows over a sample
MAX_WIDTH = 1 << 29  # numbers in one tensor: 2 GB


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
    """The card in a model's folder. Raises ModelError where it is not there, lacks or misspells an entry, or asks for absurd sizes."""
    path = folder / "card.json"
    try:
        with _open(path) as file:
            content = file.read(MAX_CARD_BYTES + 1)
        if len(content) > MAX_CARD_BYTES:
            raise ModelError(f"{path}: too large for a model card")
        entries = json.loads(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: is not a model, it has no card.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as a model card ({error})") from error
    try:
        card: Card = _typed(Card, entries, "the card")
        _check(card)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ModelError(f"{path}: is not a valid model card ({error})") from error
    return card


def available() -> list[Card]:
    """Cards of the models that came with the package."""
    folders = sorted(path.parent for folder in FOLDERS for path in folder.glob("*/card.json"))
    return [read_card(folder) for folder in folders]


def find(model: str | Path) -> Path:
    """The folder of a model given by name or path. Raises ModelError with the names there are."""
    with suppress(OSError):  # too long a name, or in a folder that may not be searched
        for folder in FOLDERS:
            if isinstance(model, str) and Path(model).name == model and (folder / model / "card.json").is_file():
                return folder / model
        if Path(model).is_dir():
            return Path(model)
    names = ", ".join(card.name for card in available()) or "none"
    raise ModelError(f"no model {str(model)!r}: neither a folder nor an included one ({names})")


def load(folder: Path, card: Card) -> MMDenseNet:
    """The network of a model's folder, in eval mode, batch norm not folded. Raises ModelError on any mismatch with the card."""
    path = folder / "model.safetensors"
    with torch.device("meta"):
        network = MMDenseNet(card.network)
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    most = sum(tensor.numel() * 4 for tensor in expected.values()) + MAX_HEADER_BYTES
    try:
        with _open(path) as file:
            if path.stat().st_size > most:
                raise ModelError(f"{path}: is larger than the network on its card")
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


def _open(path: Path) -> BufferedReader:
    """A file to read. A pipe or a device is none: one could wait for it, or read it, for ever."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: is not a file")
    return path.open("rb")


def _typed(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as the annotated type `kind`: no entry may lack, be unknown or of another type. Raises ValueError."""
    origin, inside = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        if wrong := kinds.keys() ^ value.keys():
            raise ValueError(f"{where} lacks the entry {min(wrong)[:40]!r}, or should not have it")
        return kind(**{name: _typed(kinds[name], value[name], name) for name in kinds})  # type: ignore[operator]
    if origin in (tuple, list) and isinstance(value, list):
        several = origin is list or inside[-1] is Ellipsis
        if several or len(value) == len(inside):
            return origin(_typed(part, entry, where) for part, entry in zip(repeat(inside[0]) if several else inside, value, strict=False))
    elif origin is Literal and isinstance(value, str) and value in inside:
        return value
    elif (kind is float and type(value) in (int, float)) or (kind is int and type(value) is int):
        if 0 <= value <= MAX_NUMBER:
            return kind(value)
    elif (origin or kind) in (str, dict) and type(value) is (origin or kind):
        return value
    raise ValueError(f"{where} is of the wrong kind or out of range")


def _check(card: Card) -> None:
    texts = (card.name, card.description, card.licence, card.sha256, *card.stems)
    if not all(text.isprintable() for text in texts) or not all((card.name, card.licence, *card.stems)):
        raise ValueError("its texts must be printable, and name, licence and stems not empty")
    if any(Path(text).name != text or text in (".", "..") for text in (card.name, *card.stems)):
        raise ValueError("names may not hold path separators")
    if len(card.stems) != card.network.stems or len(set(card.stems)) != len(card.stems) or "accompaniment" in card.stems:
        raise ValueError("its stems are not those of its network")
    if not 8000 <= card.rate <= 192000:
        raise ValueError(f"rate {card.rate}")
    _check_sizes(card.front_end, card.network)


def _check_sizes(front_end: FrontEndConfig, network: MMDenseNetConfig) -> None:
    """Nothing is built for a card that no network for this work could have."""
    blocks = [*(block for path in network.paths for block in path.blocks), network.final, *(ending[1:] for ending in network.endings)]
    merges = [network.merge_channels, *(ending[0] for ending in network.endings)]
    least = [*merges, *(number for path in network.paths for number in (path.stem_channels, path.stem_stride))]
    if min(*least, *(min(block) for block in blocks), *(min(path.stem_kernel) for path in network.paths)) < 1:
        raise ValueError("a layer has no maps, or a block no layers")
    if front_end.bins != network.bins:
        raise ValueError(f"{network.bins} bins where the front-end gives {front_end.bins}")
    if not 1 <= network.channels <= 2:
        raise ValueError(f"{network.channels} channels")
    if not 0 < network.compression <= 2:
        raise ValueError(f"compression {network.compression}")
    if front_end.n_fft > MAX_OVERLAP * front_end.hop_length or max(max(path.stem_kernel) for path in network.paths) > MAX_KERNEL:
        raise ValueError("windows overlap too much, or a kernel is too large")
    if sum(layers for _, layers in blocks) > MAX_LAYERS or network.context > MAX_CONTEXT:
        raise ValueError("a network too deep")
    maps = [
        2 * max(merges),
        *(path.stem_channels for path in network.paths),
        *(growth * (count + 2) for growth, count in blocks),
    ]
    widest = max(2 * network.stems * network.channels, max(maps) // network.join_stride)
    if widest * network.bins * (512 + 2 * network.context) > MAX_WIDTH:
        raise ValueError("a network too wide")
