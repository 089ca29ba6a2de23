import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from recipes import export
from recipes.train import main
from separate import AudioError, ModelError, Separator
from separate.data.module import StemsData
from separate.frontend import FrontEndConfig
from separate.pretrained import load, read_card
from separate.tasks.separation import SeparationTask
from tests.conftest import RATE, apart_config, random_network, tiny_config
from tests.songs import made_up_song

RECIPE = Path(__file__).parent.parent.parent / "recipes" / "opencorpus" / "vocals.yaml"


def listed(value):
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: listed(entry) for key, entry in value.items()}
    return [listed(entry) for entry in value] if isinstance(value, (tuple, list)) else value


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The shipped recipe on a tiny network and made-up songs: its arguments."""
    root = tmp_path_factory.mktemp("recipe")
    for split, seed in (("train", 1), ("train", 2), ("valid", 3)):
        made_up_song(root / "data" / split / "album" / f"song{seed}", 3.0, seed=seed)
    settings = yaml.safe_load(RECIPE.read_text())
    settings["model"]["network"] = listed(asdict(tiny_config()))
    settings["model"]["front_end"] = {"n_fft": 512, "hop_length": 256}
    settings["data"]["init_args"].update(root=str(root / "data"), samples=8192, examples=16, batch_size=4, workers=0)
    settings["trainer"].update(max_epochs=2, default_root_dir=str(root / "run"), log_every_n_steps=1, enable_progress_bar=False)
    for logger in settings["trainer"]["logger"]:
        logger["init_args"]["save_dir"] = str(root / "run")
    settings["trainer"]["callbacks"][-1]["init_args"]["dirpath"] = str(root / "run" / "checkpoints")
    (root / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return ["fit", "--config", str(root / "recipe.yaml")]


@pytest.fixture(scope="module")
def trained(recipe: list[str]) -> Path:
    main(recipe)
    return Path(recipe[2]).parent


def test_the_recipe_trains_validates_logs_and_checkpoints(trained: Path) -> None:
    rows = list(csv.DictReader((trained / "run" / "csv" / "version_0" / "metrics.csv").open()))
    losses = [float(row["train/loss"]) for row in rows if row.get("train/loss")]
    assert len(losses) == 8 and all(0 < loss < 10 for loss in losses)
    scores = [float(row["valid/sdr_vocals"]) for row in rows if row.get("valid/sdr_vocals")]
    assert len(scores) == 2
    shares = [float(row["train/wait_share"]) for row in rows if row.get("train/wait_share")]
    assert all(0 <= share < 1 for share in shares) and len(shares) == 2
    assert (trained / "run" / "checkpoints" / "last.ckpt").is_file()
    assert list((trained / "run" / "tensorboard").rglob("events*"))


def test_a_batch_can_be_learnt() -> None:
    torch.manual_seed(0)
    task = SeparationTask(["vocals"], tiny_config(), FrontEndConfig(512, 256))
    optimizer = torch.optim.AdamW(task.network.parameters(), 1e-2)
    time = torch.arange(8192) / RATE
    tone = torch.sin(2 * torch.pi * torch.tensor([[440.0], [445.0]]) * time)
    batch = torch.stack((0.3 * tone, 0.1 * torch.randn(2, 8192)))[None]  # a tone as vocals, noise as the rest
    losses = []
    for _ in range(40):
        estimate, mixture = task.estimate(batch.sum(1))
        loss = task.loss(estimate, task.front_end.stft(batch[:, :-1]), mixture[:, None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_not_known_of_a_stem_teaches_nothing() -> None:
    torch.manual_seed(0)
    task = SeparationTask(["vocals", "drums"], tiny_config(), FrontEndConfig(512, 256))
    task.log = lambda *_, **__: None
    batch = 0.1 * torch.randn(2, 3, 2, 8192)
    batch[:, 1] = torch.nan
    task.training_step(batch, 0).backward()
    gradient = task.network.head.weight.grad
    assert gradient[:, :2].abs().max() > 0 and gradient[:, 2:].abs().max() == 0


def test_training_resumes_where_it_stopped(trained: Path, recipe: list[str]) -> None:
    checkpoint = trained / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 8
    main(
        [
            *recipe,
            "--ckpt_path",
            str(checkpoint),
            "--trainer.max_epochs",
            "3",
            "--trainer.callbacks.init_args.dirpath",
            str(trained / "more"),
        ]
    )
    assert torch.load(trained / "more" / "last.ckpt", weights_only=True)["global_step"] == 12


def test_the_last_steps_are_kept_though_no_epoch_ends_with_them(recipe: list[str], tmp_path: Path) -> None:
    main([*recipe, "--trainer.max_steps", "6", "--trainer.callbacks.init_args.dirpath", str(tmp_path)])
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6  # an epoch has four


def test_a_checkpoint_becomes_a_model_that_separates(
    trained: Path, recipe: list[str], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    notes = {"name": "new", "description": "d", "licence": "MIT", "sources": [], "training": {}, "scores": []}
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    checkpoint = trained / "run" / "checkpoints" / "last.ckpt"
    export.main([str(checkpoint), recipe[2], str(tmp_path / "notes.json"), str(tmp_path / "new")])
    assert not [warning for warning in recwarn if "args parameter" in str(warning.message)]  # whose arguments are others'
    separator = Separator.load(tmp_path / "new", "cpu", "float32")
    assert separator.offers == ("vocals", "accompaniment")
    assert separator(torch.randn(2, 5000), RATE)["vocals"].shape == (2, 5000)
    averaged = torch.load(checkpoint, weights_only=True)["state_dict"]["network.head.weight"]
    torch.testing.assert_close(separator.network.head.weight, averaged, check_stride=False)


def test_two_processes_train_together(recipe: list[str], tmp_path: Path) -> None:
    import subprocess
    import sys

    arguments = ["--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    arguments += ["--trainer.callbacks.init_args.dirpath", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "recipes.train", *recipe, *arguments], cwd=RECIPE.parent.parent.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2  # four batches, two processes


def test_a_piece_that_fills_up_the_last_round_of_processes_counts_once() -> None:
    """Three pieces, two processes: the second gets the first piece again."""
    task = SeparationTask(["vocals"], tiny_config(), FrontEndConfig(512, 256)).eval()
    for rank, counted in ((0, 2), (1, 1)):
        loader = SimpleNamespace(dataset=range(3))
        task._trainer = SimpleNamespace(val_dataloaders=loader, world_size=2, global_rank=rank)
        task.energies = torch.zeros(3, 1, 2)
        for round_, piece in enumerate(((0, 2), (1, 0))[rank]):
            task.validation_step((torch.tensor([piece]), torch.randn(1, 2, 2, 4096)), round_)
        assert (task.energies[:, 0, 0] > 0).sum() == counted


def test_bfloat16_trains(recipe: list[str], tmp_path: Path) -> None:
    main(
        [*recipe, "--trainer.precision", "bf16-mixed", "--trainer.max_epochs", "1", "--trainer.callbacks.init_args.dirpath", str(tmp_path)]
    )
    weights = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_where_other_stands_for_several_stems_their_estimates_are_added() -> None:
    """Three examples: all is known; the drums are in other; neither is known."""
    task = SeparationTask(["drums", "other", "vocals"], tiny_config(), FrontEndConfig(512, 256))
    estimate, there = torch.rand(3, 3, 2, 257, 8), torch.ones(3, 3, 1, 1, 1)
    there[1, 0] = there[2, 0] = there[2, 1] = 0
    drums, other, vocals = estimate.unbind(1)
    expected = estimate.clone()
    expected[1] = torch.stack((torch.zeros_like(drums[1]), drums[1] + other[1], vocals[1]))
    expected[2] = torch.stack((torch.zeros_like(drums[2]), torch.zeros_like(drums[2]), vocals[2]))
    torch.testing.assert_close(task._as_known(estimate, there), expected)
    without = SeparationTask(["drums", "bass", "vocals"], tiny_config(), FrontEndConfig(512, 256))
    torch.testing.assert_close(without._as_known(estimate, there), estimate * there)


def test_training_can_start_from_a_model_of_other_stems(two_stem_model: Path, model: Path) -> None:
    old = Separator.load(two_stem_model, "cpu", "float32").network
    torch.manual_seed(1)
    task = SeparationTask(["bass", "drums"], tiny_config(), FrontEndConfig(512, 256), initial_model=two_stem_model)
    torch.testing.assert_close(task.network.full.stem[0].weight, load(two_stem_model, read_card(two_stem_model)).full.stem[0].weight)
    torch.testing.assert_close(task.network.head.weight[:, 2:], old.head.weight[:, 2:], check_stride=False)
    assert not torch.equal(task.network.head.weight[:, :2], old.head.weight[:, :2])
    with pytest.raises(ModelError, match="not the recipe's"):
        SeparationTask(["vocals"], "strided", initial_model=model)


def test_a_network_whose_bands_end_apart_trains_from_one_of_other_stems(tmp_path: Path) -> None:
    old = random_network(apart_config(2))
    notes = {"name": "apart", "description": "for tests", "licence": "MIT"}
    export.write_model(old, ("vocals", "drums"), RATE, FrontEndConfig(512, 256), notes, tmp_path / "apart")
    torch.manual_seed(1)
    task = SeparationTask(["bass", "drums"], apart_config(), FrontEndConfig(512, 256), initial_model=tmp_path / "apart")
    for ending, theirs in zip(task.network.endings, old.endings, strict=True):
        torch.testing.assert_close(ending.head.weight[:, 2:], theirs.head.weight[:, 2:], check_stride=False)
        torch.testing.assert_close(ending.head.bias[2:], theirs.head.bias[2:])
        assert not torch.equal(ending.head.weight[:, :2], theirs.head.weight[:, :2])
    task.log = lambda *_, **__: None
    task.training_step(0.1 * torch.randn(2, 3, 2, 8192), 0).backward()
    assert all(parameter.grad.abs().max() > 0 for ending in task.network.endings for parameter in ending.head.parameters())


def test_tdf_layers_are_added_to_a_model_that_has_none_and_do_nothing_at_first(tmp_path: Path, model: Path) -> None:
    task = SeparationTask(["vocals"], replace(tiny_config(), tdf=4), FrontEndConfig(512, 256), initial_model=model).eval()
    magnitude = torch.rand(1, 2, 257, 16)
    torch.testing.assert_close(task.network(magnitude), load(model, read_card(model))(magnitude))
    notes = {"name": "apart", "description": "for tests", "licence": "MIT"}
    export.write_model(random_network(apart_config()), ("vocals",), RATE, FrontEndConfig(512, 256), notes, tmp_path / "apart")
    with pytest.raises(ModelError, match="not the recipe's"):
        SeparationTask(["vocals"], replace(apart_config(), tdf=0), FrontEndConfig(512, 256), initial_model=tmp_path / "apart")


def test_songs_to_validate_on_are_never_trained_on(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        made_up_song(tmp_path / split / "album" / "song", 1.0)
    with pytest.raises(AudioError, match="in train and in valid: album/song"):
        StemsData(tmp_path, ["vocals"]).setup("fit")


def test_training_needs_an_end_but_no_warm_up() -> None:
    task = SeparationTask(["vocals"], tiny_config(), FrontEndConfig(512, 256), learning_rate=0.1, warmup_steps=0)
    task._trainer = SimpleNamespace(estimated_stepping_batches=10)
    assert task.configure_optimizers()["optimizer"].param_groups[0]["lr"] == 0.1
    task._trainer = SimpleNamespace(estimated_stepping_batches=float("inf"))
    with pytest.raises(ValueError, match=r"give trainer\.max_steps or"):
        task.configure_optimizers()


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no network named huge"):
        SeparationTask(["vocals"], "huge")
