"""Model folders changed at random: a model that computes, or a ModelError; never another exception, and never memory for a lie."""

import hashlib
import json
import math
import mmap
import shutil
import struct
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from separate import ModelError, Separator
from separate.frontend import FrontEndConfig
from separate.pretrained import Card
from tests.conftest import RATE, tiny_config
from tests.limits import at_most, peak, reset_peak

WEIRD: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    2**63,
    1e308,
    math.nan,
    "",
    "../../etc",
    "a" * 1000,
    [],
    {},
    [[]],
    [0] * 40,
    {"a": {"b": 1}},
]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, part in inside for leaf in leaves(part, (*path, key)))]


def damage(card: dict[str, Any], rng: np.random.Generator) -> None:
    """Replace, remove, duplicate or scale a random entry, in place."""
    path = leaves(card)[1:][rng.integers(len(leaves(card)) - 1)]
    owner = card
    for key in path[:-1]:
        owner = owner[key]
    kind = rng.integers(5)
    if kind == 0:
        del owner[path[-1]]
    elif kind == 1 and isinstance(owner[path[-1]], int):
        owner[path[-1]] *= int(rng.choice([-1, 2, 1000, 10**6]))
    elif kind == 3 and isinstance(owner[path[-1]], int):
        owner[path[-1]] = float(owner[path[-1]])
    elif kind == 2 and isinstance(owner, dict):
        owner[str(path[-1]) + "x"] = owner[path[-1]]
    else:
        owner[path[-1]] = WEIRD[rng.integers(len(WEIRD))]


def try_out(folder: Path) -> bool:
    """Whether the folder is taken for a model; then it must compute, and with sound in there must be numbers out."""
    with at_most(10, 100):
        try:
            separator = Separator.load(folder, "cpu", "float32")
        except ModelError as error:
            assert str(error) and "\n" not in str(error)
            return False
    out = separator(torch.randn(2, 4000), 44100)
    assert all(stem.isfinite().all() and stem.shape == (2, 4000) for stem in out.values())
    return True


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("seed", range(100))
def test_cards(copy: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    card = json.loads((copy / "card.json").read_text())
    for _ in range(1 + seed % 3):
        damage(card, rng)
    (copy / "card.json").write_text(json.dumps(card))
    try_out(copy)


CARD = Card("tiny", "for tests", "MIT", ("vocals",), RATE, FrontEndConfig(512, 256), tiny_config(), "")
ENTRIES = leaves(json.loads(json.dumps(asdict(CARD))))[1:]


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: ".".join(map(str, path)))
def test_every_entry_that_is_of_another_kind_or_missing_is_refused(copy: Path, path: tuple[Any, ...]) -> None:
    """Nothing is taken for what it nearly is: a whole number in decimals, a truth value, a list one too short, nothing at all."""
    whole = json.loads((copy / "card.json").read_text())
    owner = whole
    for key in path[:-1]:
        owner = owner[key]
    value = owner[path[-1]]
    wrong = [None, True, [value], [], {}, str(value)] if not isinstance(value, str) else [None, True, [value], 7]
    wrong = [item for item in wrong if item != value or type(item) is not type(value)]
    for replacement in [*wrong, float(value)] if isinstance(value, int) else wrong:
        owner[path[-1]] = replacement
        (copy / "card.json").write_text(json.dumps(whole))
        assert not try_out(copy), replacement
    del owner[path[-1]]
    (copy / "card.json").write_text(json.dumps(whole))
    assert not try_out(copy)


@pytest.mark.parametrize("seed", range(60))
def test_weights_whose_checksum_is_right(copy: Path, seed: int) -> None:
    """Whoever can change the weights can change the card: the file itself must be safe."""
    rng = np.random.default_rng(seed)
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    match seed % 4:
        case 0:  # the header's bytes
            for place in rng.integers(8, 8 + header, 1 + seed // 8):
                content[place] = rng.integers(256)
        case 1:  # its length
            content[:8] = struct.pack("<Q", int(rng.choice([0, 1, header - 1, header + 1, 10**6, 2**40, 2**63])))
        case 2:  # cut off
            del content[int(rng.integers(len(content))) :]
        case 3:  # offsets and shapes that lie
            entries = json.loads(content[8 : 8 + header])
            name = sorted(key for key in entries if key != "__metadata__")[rng.integers(len(entries) - 1)]
            entries[name][rng.choice(["shape", "data_offsets"])] = [int(n) for n in rng.choice([0, 1, 7, 10**6, 2**40, 2**62], 2)]
            text = json.dumps(entries).encode()
            content = bytearray(struct.pack("<Q", len(text)) + text + content[8 + header :])
    path.write_bytes(content)
    card = json.loads((copy / "card.json").read_text())
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (copy / "card.json").write_text(json.dumps(card))
    assert not try_out(copy) or seed % 4 == 0


def test_an_untouched_copy_is_a_model(copy: Path) -> None:
    assert try_out(copy)


def test_the_peak_is_noticed() -> None:
    reset_peak()
    before = peak()
    with mmap.mmap(-1, 150 << 20) as fresh:  # what malloc gives may have been counted already
        fresh[:: mmap.PAGESIZE] = bytes(len(fresh) // mmap.PAGESIZE)
    assert peak() - before > 100
    with pytest.raises(TimeoutError), at_most(1, 100):
        time.sleep(2)
