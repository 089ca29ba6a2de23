import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from separate import ModelError
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import available, find, load, read_card
from tests.conftest import random_network, tiny_config
from tests.limits import at_most


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copy"))


def edit(folder: Path, **changes: object) -> None:
    entries = json.loads((folder / "card.json").read_text())
    for key, value in changes.items():
        *path, last = key.split("__")
        place = entries
        for part in path:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    (folder / "card.json").write_text(json.dumps(entries))


def replace_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, folder / "model.safetensors")
    edit(folder, sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())


def test_a_model_comes_back_as_it_was_stored(folder: Path) -> None:
    network = load(folder, read_card(folder))
    expected = random_network(tiny_config())
    assert isinstance(network, MMDenseNet)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor) or name.endswith("num_batches_tracked")


def test_every_model_that_ships_loads_and_says_where_it_comes_from() -> None:
    cards = available()
    assert cards
    for card in cards:
        load(find(card.name), card)
        assert card.licence and card.scores and card.training
        assert all({"name", "licence", "credit", "minutes"} <= set(source) for source in card.sources)
        assert not [source for source in card.sources if source["licence_class"] != "open"]
        assert (find(card.name) / "README.md").is_file()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../evil"},
        {"stems": ["../../etc"]},
        {"stems": []},
        {"stems": ["vocals", "vocals"]},
        {"stems": "vocals"},
        {"rate": 1},
        {"rate": "44100"},
        {"front_end__n_fft": 1 << 40},
        {"front_end__hop_length": 0},
        {"front_end__n_fft": 1024},
        {"network__merge_channels": 10**9},
        {"network__merge_channels": -1},
        {"network__final": [1e300, 2]},
        {"network__final": "ab"},
        {"network__stems": 10**6},
        {"network__bands": []},
        {"network__full__blocks": [[4, 2]] * 1000},
        {"network__unknown": 1},
        {"network": None},
        {"network__full__stem_channels": None},
        {"network__full__stem_channels": 6.0},
        {"network__full__stem_stride": 0},
        {"network__full__stem_kernel": [4, 3, 3]},
        {"network__full__stem_kernel": [1000, 3]},
        {"network__merge_channels": True},
        {"network__endings": [[4, 4, 1]]},
        {"network__endings": [[4, 4, 0], [4, 4, 1]]},
        {"network__endings": [[0, 4, 1], [4, 4, 1]]},
        {"network__compression": None},
        {"network__compression": 0},
        {"network__compression": 1e4},
        {"network__output": "anything"},
        {"network__output": ["mask"]},
        {"network__final": [6, 0]},
        {"front_end__n_fft": 512.0},
        {"front_end": {"n_fft": 512, "hop_length": 1}},
        {"rate": 44100.0},
        {"rate": True},
        {"sources": {}},
        {"sources": ["a"]},
        {"scores": None},
        {"description": 3},
        {"surprise": 1},
        {"licence": ""},
    ],
)
def test_a_card_that_lies_is_refused(folder: Path, changes: dict[str, object]) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError):
        card = read_card(folder)
        load(folder, card)


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "\x1b[2J", "\ud800", "\u202egpj.exe", "a/b", "..", "\r"])
def test_names_that_can_be_no_files_or_play_with_a_terminal_are_refused(folder: Path, text: str) -> None:
    for changes in ({"name": text}, {"stems": [text]}):
        edit(folder, **changes)
        with pytest.raises(ModelError, match=r"card\.json"):
            read_card(folder)


@pytest.mark.parametrize("place", ["", "front_end", "network", "network__full", "network__bands__0"])
def test_no_entry_of_a_card_has_a_silent_default(folder: Path, place: str) -> None:
    whole = json.loads((folder / "card.json").read_text())
    owner = whole
    for part in filter(None, place.split("__")):
        owner = owner[int(part) if part.isdigit() else part]
    for key in list(owner):
        value = owner.pop(key)
        (folder / "card.json").write_text(json.dumps(whole))
        with pytest.raises(ModelError, match=f"lacks the entry '{key}'"):
            read_card(folder)
        owner[key] = value


def deep(halvings: int, layers: int = 1, growth: int = 1) -> dict[str, object]:
    return {"network__full__blocks": [[growth, layers]] * (2 * halvings + 1)}


@pytest.mark.parametrize(
    "changes, message",
    [
        (deep(15), "too deep"),
        (deep(10), "too deep"),
        (deep(15, 64), "too deep"),
        (deep(0, 513), "too deep"),
        (deep(0, 10**5), "too deep"),
        (deep(1, 1, 20000), "too wide"),
        ({"network__merge_channels": 200000}, "too wide"),
        ({"network__endings": [[200000, 4, 1], [4, 4, 1]]}, "too wide"),
        ({"network__endings": [[4, 4, 513], [4, 4, 1]]}, "too deep"),
    ],
)
def test_a_network_of_absurd_cost_is_refused_before_anything_is_built(folder: Path, changes: dict[str, object], message: str) -> None:
    edit(folder, **changes)
    with at_most(2, 20), pytest.raises(ModelError, match=message):
        read_card(folder)


def test_many_bands_of_many_blocks_are_refused_before_anything_is_built(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    band = {**card["network"]["full"], "blocks": [[1, 64]] * 31, "stem_stride": 1}
    card["network"]["full"]["stem_stride"] = 1
    card["network"]["bands"] = [{**band, "start": 8 * n, "stop": 8 * n + 8 + (n == 31)} for n in range(32)]
    (folder / "card.json").write_text(json.dumps(card))
    with at_most(2, 20), pytest.raises(ModelError, match="too deep"):
        read_card(folder)


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "folder", "link to a pipe"])
def test_what_is_no_regular_file_is_refused_at_once(folder: Path, name: str, kind: str) -> None:
    card, path = read_card(folder), folder / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        target = path if kind == "pipe" else folder / "pipe"
        os.mkfifo(target)
        if target != path:
            path.symlink_to(target)
    with at_most(2, 20), pytest.raises(ModelError, match="is not a file"):
        load(folder, read_card(folder) if name == "card.json" else card)


@pytest.mark.parametrize("name, message", [("card.json", "too large"), ("model.safetensors", "larger than the network")])
def test_a_terabyte_of_nothing_is_refused_at_once(folder: Path, name: str, message: str) -> None:
    card = read_card(folder)
    os.truncate(folder / name, 1 << 40)
    with at_most(2, 20), pytest.raises(ModelError, match=message):
        load(folder, read_card(folder) if name == "card.json" else card)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100000, b'{"name": 1}'])
def test_what_is_no_card_is_refused(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    with pytest.raises(ModelError):
        read_card(folder)


def test_a_card_for_a_huge_network_costs_no_memory(folder: Path) -> None:
    """The claim is checked against the weights before tensors of that size are made."""
    edit(folder, network__full__blocks=[[1000, 1]] * 3)
    with at_most(5, 50), pytest.raises(ModelError, match="not those of the network"):
        load(folder, read_card(folder))


def test_damaged_weights_are_refused(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    card = read_card(folder)
    for broken in (b"", data[:100], data[:-1], data[:200] + b"\x00" + data[201:], data + b"\x00"):
        (folder / "model.safetensors").write_bytes(broken)
        with pytest.raises(ModelError):
            load(folder, card)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load(folder, card)


def test_weights_of_another_network_or_not_finite_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    first = next(iter(weights))
    for changed in (
        {name: tensor for name, tensor in weights.items() if name != first},
        {**weights, "extra": torch.zeros(3)},
        {**weights, first: weights[first][:1]},
        {**weights, first: torch.full_like(weights[first], float("nan"))},
        {**weights, first: weights[first].double()},
    ):
        replace_weights(folder, changed)
        with pytest.raises(ModelError):
            load(folder, read_card(folder))


def test_models_are_found_by_path_and_unknown_names_say_what_there_is(folder: Path) -> None:
    assert find(folder) == folder
    with pytest.raises(ModelError, match="no model 'nope'"):
        find("nope")
    with pytest.raises(ModelError, match="no model 'aaa"):
        find("a" * 300)
    with pytest.raises(ModelError, match=r"no card\.json"):
        read_card(folder.parent)
