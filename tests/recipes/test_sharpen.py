from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from recipes.export import read_recipe
from recipes.sharpen import AS_IT_IS, GRID, decibels, fit, main, write
from separate.frontend import FrontEnd, FrontEndConfig
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
    main([str(two_stem_model), str(config), str(tmp_path / "out"), "--mixes", "12"])
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["vocals", "drums"]
    data = read_recipe(config, examples=6).datamodule
    data.setup("fit")
    mixes, means = data.train_set(0), []
    for folder in (two_stem_model, tmp_path / "out"):
        card = read_card(folder)
        network = load(folder, card).folded()
        found = [decibels(network, FrontEnd(card.front_end), card.stems, mixes[number])[AS_IT_IS] for number in range(6)]
        means.append(torch.stack(found).nanmean().item())
    assert means[1] > means[0] + 0.01


def test_a_stem_that_no_mix_counts_stays_as_it_is() -> None:
    mix = torch.rand(3, 2, 8192) - 0.5
    mix[1] = 0  # drums do not sound, and nothing is left over
    mix[2] = 0
    means, places = fit(random_network(tiny_config(2)), FrontEnd(FrontEndConfig(512, 256)), ("vocals", "drums"), [mix])
    assert means[:, 0].isfinite().all() and means[:, 1].isnan().all()
    assert places[1] == AS_IT_IS


@pytest.mark.parametrize("network_config", [tiny_config(3), apart_config(3)])
def test_the_weights_say_what_was_found(network_config: MMDenseNetConfig) -> None:
    network, magnitude, places = random_network(network_config), torch.rand(1, 2, 257, 16) + 0.1, torch.tensor([0, AS_IT_IS, 22])
    with torch.no_grad():
        before = torch.logit(network(magnitude)[0] / magnitude)
        write(network, places)
        after = torch.logit(network(magnitude)[0] / magnitude)
    for stem, place in enumerate(places):
        torch.testing.assert_close(after[stem], before[stem] * GRID[place][0] + GRID[place][1], atol=1e-3, rtol=1e-3)


def test_stems_that_are_not_known_are_not_counted() -> None:
    network, mix = random_network(tiny_config(2)), 0.1 * torch.randn(3, 2, 4096)
    mix[1] = torch.nan
    found = decibels(network, FrontEnd(FrontEndConfig(512, 256)), ["vocals", "drums"], mix)
    assert found.shape == (len(GRID), 2) and found[:, 0].isfinite().all() and found[:, 1].isnan().all()


def test_stems_that_are_not_named_stay_as_they_are(two_stem_model: Path, config: Path, tmp_path: Path) -> None:
    main([str(two_stem_model), str(config), str(tmp_path / "out"), "--mixes", "2", "--stems", "drums"])
    before, after = (load(folder, read_card(folder)).state_dict()["head.bias"] for folder in (two_stem_model, tmp_path / "out"))
    assert torch.equal(before[:2], after[:2]) and not torch.equal(before[2:], after[2:])


def test_other_stems_than_the_recipes_are_refused(model: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(model), str(config), str(tmp_path / "out")])
    assert "no masks of the recipe's stems, vocals, drums" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(model), str(config), str(model)])
    assert "holds a model already" in capsys.readouterr().err
