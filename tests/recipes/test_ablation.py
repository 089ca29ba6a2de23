import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from recipes import ablation
from recipes.ablation import main, spread
from tests.conftest import tiny_config
from tests.songs import made_up_song
from tests.tasks.test_separation import listed

RECIPES = Path(__file__).parent.parent.parent / "recipes"


def shrink(recipe: Path, small: Path, settings: dict[str, object]) -> None:
    """A copy of a recipe's folder with a tiny network, two steps and the given settings."""
    shutil.copytree(recipe, small)
    shutil.copytree(recipe.parent / "opencorpus", small.parent / "opencorpus")  # the loss is written there
    base = yaml.safe_load((small / "base.yaml").read_text())
    base["model"].update(network=listed(asdict(tiny_config())), front_end={"n_fft": 512, "hop_length": 256})
    base["data"]["init_args"].update(samples=8192, examples=4, batch_size=2, workers=0)
    base["trainer"].update(max_steps=2, accelerator="cpu", enable_progress_bar=False)
    (small / "base.yaml").write_text(yaml.safe_dump(base))
    (small / "comparison.yaml").write_text(yaml.safe_dump(settings))


def test_settings_are_trained_scored_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, seed in (("train", 1), ("train", 2), ("valid", 3)):
        made_up_song(tmp_path / "songs" / split / "album" / f"song{seed}", 3.0, seed=seed)
    recipe = RECIPES / "feature_loss"
    settings = yaml.safe_load((recipe / "comparison.yaml").read_text())
    two = {name: {**settings[name], "seeds": [0]} for name in ("l2", "feature")}
    shrink(recipe, tmp_path / "recipe", two)
    main([str(tmp_path / "recipe"), str(tmp_path / "songs"), str(tmp_path / "out"), "vgg=random", "--jobs", "2"])
    table = (tmp_path / "out" / "table.md").read_text()
    for setting in two:
        assert f"| song3 | vocals | {setting} |" in table
        assert f"| song3 | drums | {setting} |" in table
    weights = [(tmp_path / "out" / f"{name}-0" / "model" / "model.safetensors").read_bytes() for name in two]
    assert weights[0] != weights[1]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
    monkeypatch.setattr(ablation, "score", lambda *_, **__: [])
    main([str(tmp_path / "recipe"), str(tmp_path / "songs"), str(tmp_path / "out"), "vgg=random"])
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("value", ["C:\\vgg\\new.ckpt", 'a "quoted": name', "töne 🎤"])
def test_a_value_is_filled_in_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    seen = []

    def trained(recipe: Path, setting: dict[str, dict[str, str]], seed: int, songs: Path, run: Path, arguments: list[str]) -> None:
        seen.append(setting["options"]["weights"])
        run.mkdir(parents=True)
        (run / "seconds").write_text("1")

    monkeypatch.setattr(ablation, "train", trained)
    monkeypatch.setattr(ablation, "score", lambda *_, **__: [])
    (tmp_path / "comparison.yaml").write_text('a: {seeds: [0], configs: [], options: {weights: "{vgg}"}}')
    main([str(tmp_path), "songs", str(tmp_path / "out"), f"vgg={value}"])
    assert seen == [value]


def test_the_trainers_options_follow_those_of_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def trained(recipe: Path, setting: dict[str, str], seed: int, songs: Path, run: Path, arguments: list[str]) -> None:
        seen.append(arguments)
        run.mkdir(parents=True)
        (run / "seconds").write_text("1")

    monkeypatch.setattr(ablation, "train", trained)
    monkeypatch.setattr(ablation, "score", lambda *_, **__: [])
    (tmp_path / "comparison.yaml").write_text("a: {seeds: [0], configs: []}")
    main([str(tmp_path), "songs", str(tmp_path / "out"), "--jobs", "2", "--trainer.accelerator", "cpu", "--model.learning_rate=1"])
    assert seen == [["--trainer.accelerator", "cpu", "--model.learning_rate=1"]]


def test_the_spread_is_half_the_range() -> None:
    assert spread([1.0, 2.0]) == "1.50 ± 0.50"
    assert spread([1.0]) == "1.00"
    assert spread([float("nan")]) == "-"
