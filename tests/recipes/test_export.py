import json
from pathlib import Path

import pytest

from recipes.export import main, write_model
from separate import ModelError
from separate.pretrained import load, read_card

NOTES = {"name": "new", "description": "", "licence": "MIT"}


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({**NOTES, "license": "MIT"}, "may not have 'license'"),
        ({"name": "new", "licence": "MIT"}, "lacks 'description'"),
        ({**NOTES, "stems": ["drums"]}, "may not have 'stems'"),
        ({**NOTES, "name": "a/b"}, "path separators"),
    ],
)
def test_a_card_that_is_wrong_leaves_the_model_that_was_there(model: Path, tmp_path: Path, notes: dict[str, object], message: str) -> None:
    card = read_card(model)
    network, out = load(model, card), tmp_path / "out"
    write_model(network, card.stems, card.rate, card.front_end, NOTES, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for parameter in network.parameters():
        parameter.data += 1
    with pytest.raises(ModelError, match=message):
        write_model(network, card.stems, card.rate, card.front_end, notes, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before and len(before) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [("{name: mine}", "is not JSON (Expecting property name"), ('["mine"]', "is not a JSON object of name, "), (None, "No such file")],
)
def test_what_is_no_card_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str) -> None:
    card = tmp_path / "card.json"
    if text is not None:
        card.write_text(text)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "last.ckpt"), str(tmp_path / "config.yaml"), str(card), str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert message in said and str(card) in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{}", "model: 1", "[]", "null"])
def test_what_is_no_recipe_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "card.json").write_text(json.dumps(NOTES))
    with pytest.raises(SystemExit):
        main([str(tmp_path / name) for name in ("last.ckpt", "config.yaml", "card.json", "out")])
    assert "config.yaml: is not the config.yaml of a run" in capsys.readouterr().err
