import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from separate import ModelError
from separate.models.mmdensenet import MMDenseNet
from separate.pretrained import available, find, load, read_card
from tests.conftest import random_network, tiny_config


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
        {"surprise": 1},
        {"licence": ""},
    ],
)
def test_a_card_that_lies_is_refused(folder: Path, changes: dict[str, object]) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError):
        card = read_card(folder)
        load(folder, card)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100000, b'{"name": 1}'])
def test_what_is_no_card_is_refused(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    with pytest.raises(ModelError):
        read_card(folder)


def test_a_card_for_a_huge_network_costs_no_memory(folder: Path) -> None:
    """The claim is checked against the weights before tensors of that size are made."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edit(folder, network__full__blocks=[[100000, 3]] * 3)
    with pytest.raises(ModelError, match="not those of the network"):
        load(folder, read_card(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


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
    with pytest.raises(ModelError, match=r"no card\.json"):
        read_card(folder.parent)
