from pathlib import Path

import pytest
import torch

from recipes.average import main
from recipes.export import write_model
from separate.pretrained import load, read_card


def test_weights_are_the_mean_and_a_model_named_twice_weighs_twice(model: Path, tmp_path: Path) -> None:
    card = read_card(model)
    network, notes = load(model, card), {"name": "other", "description": "", "licence": "MIT", "scores": [{"value_db": 1}]}
    for parameter in network.parameters():
        parameter.data += torch.rand_like(parameter)
    write_model(network, card.stems, card.rate, card.front_end, notes, tmp_path / "other")
    main([str(model), str(tmp_path / "other"), str(tmp_path / "other"), str(tmp_path / "out")])
    first, second, found = (load(folder, read_card(folder)).state_dict() for folder in (model, tmp_path / "other", tmp_path / "out"))
    assert not torch.equal(first["head.weight"], second["head.weight"])
    for name in first:
        if first[name].is_floating_point():
            torch.testing.assert_close(found[name], (first[name] + 2 * second[name]) / 3)
    card = read_card(tmp_path / "out")
    assert card.name == "other" and not card.scores


def test_models_of_other_stems_are_refused(model: Path, two_stem_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(two_stem_model), str(model), str(tmp_path / "out")])
    assert "not those of" in capsys.readouterr().err


def test_no_model_is_overwritten_by_an_average(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(model), str(model), str(model)])
    assert "holds a model already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(model), str(model), str(model / "card.json")])
    assert "card.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(model), str(tmp_path / "out")])
    assert "at least two models" in capsys.readouterr().err
