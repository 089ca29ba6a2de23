import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from benchmarks.excerpt import excerpt
from recipes.train import main
from tests.conftest import RATE, tiny_config
from tests.songs import made_up_song
from tests.tasks.test_separation import listed

RECIPES = Path(__file__).parent.parent.parent / "recipes" / "musdb18"
SONGS = ("A Classic Education - NightOwl", "Actions - One Minute Smile")  # the second is one of musdb's validation songs


@pytest.fixture(scope="module", params=["musdb18", "musdb18-HQ"])
def musdb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """stempeg's excerpt laid out as musdb18 or as musdb18-HQ; the options that lead there."""
    import stempeg

    root = tmp_path_factory.mktemp("musdb")
    (root / "test").mkdir()
    for name in SONGS:
        if request.param == "musdb18":
            (root / "train").mkdir(exist_ok=True)
            shutil.copy(stempeg.example_stem_path(), root / "train" / f"{name}.stem.mp4")
        else:
            (root / "train" / name).mkdir(parents=True)
            for stem, wave in excerpt().items():
                soundfile.write(root / "train" / name / f"{stem}.wav", wave, RATE)
    options = ["--data.init_args.root", str(root)]
    return options + (["--data.init_args.cache", str(root / "cache")] if request.param == "musdb18" else [])


@pytest.mark.parametrize("target", ["vocals", "drums", "bass", "other", "four_stems", "l2"])
def test_recipes_run_to_the_end(musdb: list[str], tmp_path: Path, target: str) -> None:
    """As they stand, but for the size: a tiny network, two steps, a random VGG."""
    configs = ["base.yaml", "vocals.yaml", "l2.yaml"] if target == "l2" else ["base.yaml", f"{target}.yaml"]
    vgg = [] if target == "l2" else ["--model.loss.init_args.vgg.init_args.weights", "random"]
    two_steps([RECIPES / name for name in configs], [*musdb, *vgg], tmp_path)


@pytest.mark.parametrize(
    "overlays, target",
    [
        (["four_stems.yaml"], None),
        (["feature_loss.yaml"], None),
        (["feature_loss.yaml"], "drums"),
        (["four_stems.yaml", "feature_loss.yaml"], None),
    ],
)
def test_open_corpus_recipes_run_to_the_end(tmp_path: Path, overlays: list[str], target: str | None) -> None:
    for split, seed in (("train", 1), ("train", 2), ("valid", 3)):
        made_up_song(tmp_path / "songs" / split / "album" / f"song{seed}", 1.0, seed=seed)
    made_up_song(tmp_path / "songs" / "train" / "finished" / "song", 1.0, ("accompaniment",))
    options = ["--data.init_args.root", str(tmp_path / "songs"), "--trainer.callbacks.init_args.dirpath", str(tmp_path)]
    if "feature_loss.yaml" in overlays:
        options += ["--model.loss.init_args.vgg.init_args.weights", "random"]
    if not target:
        options += ["--data.init_args.uses", "2"]
    if target:
        options += ["--model.targets", f"[{target}]"]
    two_steps([RECIPES.parent / "opencorpus" / name for name in ("vocals.yaml", *overlays)], options, tmp_path)


@pytest.mark.parametrize("name", yaml.safe_load((RECIPES.parent / "variants" / "comparison.yaml").read_text()))
def test_variants_are_networks_of_under_two_million_parameters(tmp_path: Path, name: str) -> None:
    """Each as it stands, one step long."""
    for split, seed in (("train", 1), ("valid", 2)):
        made_up_song(tmp_path / "songs" / split / "album" / f"song{seed}", 3.0, seed=seed)
    folder = RECIPES.parent / "variants"
    setting = yaml.safe_load((folder / "comparison.yaml").read_text())[name]
    options = {
        **setting["options"],
        "trainer.max_steps": 1,
        "trainer.limit_val_batches": 0,
        "data.init_args.root": tmp_path / "songs",
        "data.init_args.workers": 0,
    }
    options |= {
        "data.init_args.batch_size": 1,
        "data.init_args.samples": 32768,
        "trainer.default_root_dir": tmp_path,
        "trainer.precision": "32-true",
    }
    arguments = [part for file in ("base.yaml", *setting["configs"]) for part in ("--config", str(folder / file))]
    arguments += [part for option, value in options.items() for part in (f"--{option}", str(value))]
    main(["fit", *arguments, "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"])
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    trained = [
        value
        for name, value in torch.load(checkpoint, weights_only=True)["state_dict"].items()
        if not name.endswith(("input_mean", "input_scale"))
    ]
    assert sum(tensor.numel() for tensor in trained) < 2e6


def two_steps(configs: list[Path], options: list[str], folder: Path) -> None:
    """Train as the recipe says, but with a tiny network on the CPU, and look at what comes out."""
    small = {
        "model": {"network": listed(asdict(tiny_config())), "front_end": {"n_fft": 512, "hop_length": 256}},
        "data": {"init_args": {"samples": 8192, "examples": 4, "batch_size": 2, "workers": 0}},
        "trainer": {
            "max_epochs": 1,
            "default_root_dir": str(folder),
            "enable_progress_bar": False,
            "accelerator": "cpu",
            "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(folder)}},
        },
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(small))
    arguments = [part for path in (*configs, folder / "small.yaml") for part in ("--config", str(path))]
    main(["fit", *arguments, *options])
    (checkpoint,) = folder.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["state_dict"].values())
