from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from recipes.export import read_recipe
from recipes.sharpen import Sharpening, decibels, main
from separate.frontend import FrontEnd
from separate.models.config import MMDenseNetConfig
from separate.pretrained import load, read_card
from tests.conftest import apart_config, random_network, tiny_config
from tests.songs import made_up_song
from tests.tasks.test_separation import listed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """What a run leaves behind, as far as it matters here."""
    for split, seed in (("train", 1), ("train", 2), ("valid", 3)):
        made_up_song(tmp_path / "songs" / split / "album" / f"song{seed}", 1.0, seed=seed)
    front_end = {"n_fft": 512, "hop_length": 256}
    model = {
        "targets": ["vocals", "drums"],
        "network": listed(asdict(tiny_config())),
        "front_end": front_end,
        "loss": {"class_path": "gone"},
    }
    data = {"root": str(tmp_path / "songs"), "samples": 8192, "workers": 0}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"model": model, "data": {"class_path": "separate.data.module.StemsData", "init_args": data}}))
    return path


def test_a_sharper_model_has_higher_sdr_on_mixes_it_was_not_fitted_to(
    two_stem_model: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(two_stem_model), str(config), str(tmp_path / "out"), "--mixes", "40"])
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["vocals", "drums"]
    data = read_recipe(config, examples=6).datamodule
    data.setup("fit")
    mixes, unchanged, means = data.train_set(0), Sharpening(2), []
    for folder in (two_stem_model, tmp_path / "out"):
        card = read_card(folder)
        network = load(folder, card).folded()
        found = [decibels(network, FrontEnd(card.front_end), unchanged, card.stems, mixes[number]) for number in range(6)]
        means.append(torch.cat(found).mean().item())
    assert means[1] > means[0] + 0.1


@pytest.mark.parametrize("network_config", [tiny_config(3), apart_config(3)])
def test_the_weights_say_what_was_fitted(network_config: MMDenseNetConfig) -> None:
    network, magnitude = random_network(network_config), torch.rand(1, 2, 257, 16) + 0.1
    sharpening = Sharpening(3)
    with torch.no_grad():
        sharpening.sharpness[:], sharpening.bias[:] = torch.tensor([0.3, 0.0, -0.2]), torch.tensor([0.1, 0.0, -0.4])
        masks = network(magnitude)[0] / magnitude
        sharpening.write(network)
        torch.testing.assert_close(network(magnitude)[0] / magnitude, sharpening(masks), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(sharpening(masks)[1], masks[1])


def test_other_stems_than_the_recipes_are_refused(model: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(model), str(config), str(tmp_path / "out")])
    assert "no masks of the recipe's stems, vocals, drums" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(model), str(config), str(model)])
    assert "holds a model already" in capsys.readouterr().err
