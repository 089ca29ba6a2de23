import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from separate import ModelError
from separate.tasks.features import load_vgg


def reference() -> dict[str, torch.Tensor]:
    torch.manual_seed(9)
    return {f"features.{key}": tensor for key, tensor in torchvision.models.vgg11(weights=None).features[:3].state_dict().items()}


def test_weights_come_from_safetensors_in_torchvisions_layout_half_precision_too(tmp_path: Path) -> None:
    tensors = {key: tensor.half() if "weight" in key else tensor for key, tensor in reference().items()}
    save_file(tensors, tmp_path / "vgg.safetensors")
    vgg = load_vgg("vgg11", ("relu1_1",), str(tmp_path / "vgg.safetensors"))
    torch.testing.assert_close(vgg.layers[0].weight, tensors["features.0.weight"].float())


def test_weights_come_from_a_training_checkpoint(tmp_path: Path) -> None:
    state = {f"encoder.{key}": tensor for key, tensor in reference().items()}
    torch.save({"state_dict": {**state, "head.weight": torch.zeros(2)}}, tmp_path / "relic.ckpt")
    vgg = load_vgg("vgg11", ("relu1_1",), str(tmp_path / "relic.ckpt"))
    torch.testing.assert_close(vgg.layers[0].weight, reference()["features.0.weight"])


def test_random_weights_need_no_file() -> None:
    assert torch.equal(load_vgg(weights="random", seed=2).layers[0].weight, load_vgg(weights="random", seed=2).layers[0].weight)


def test_offline_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models.VGG19_Weights, "get_state_dict", refuse)
    with pytest.raises(ModelError, match=r"could not be downloaded.*weights: random"):
        load_vgg()


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_checkpoint_that_runs_code_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.ckpt", tmp_path / "it ran"
    for content in ({"state_dict": {"features.0.weight": Malicious(trace)}}, Malicious(trace)):
        torch.save(content, path)
        with pytest.raises(ModelError, match="cannot be read"):
            load_vgg("vgg11", ("relu1_1",), str(path))
        path.write_bytes(pickle.dumps(content, 2))
        with pytest.raises(ModelError, match="cannot be read"):
            load_vgg("vgg11", ("relu1_1",), str(path))
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # as it would have


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense" * 100, pickle.dumps([1], 2), pickle.dumps({"no": "state_dict"}, 2)])
@pytest.mark.parametrize("suffix", ["ckpt", "pt", "safetensors"])
def test_what_is_no_checkpoint_is_an_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        load_vgg("vgg11", ("relu1_1",), str(tmp_path / f"a.{suffix}"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"weights": {}}, {"state_dict": None}, [1, 2], {"state_dict": {"features.0.weight": 3}}])
def test_a_checkpoint_without_weights_is_an_error(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match="cannot be read"):
        load_vgg("vgg11", ("relu1_1",), str(tmp_path / "a.ckpt"))


def test_weights_that_are_missing_or_too_few_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_vgg(weights=str(tmp_path / "no.safetensors"))
    save_file(reference(), tmp_path / "vgg.safetensors")
    with pytest.raises(ModelError, match="which conv2_1 needs"):
        load_vgg("vgg11", ("relu2_1",), str(tmp_path / "vgg.safetensors"))
