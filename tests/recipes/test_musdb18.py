import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from recipes.train import main
from tests.conftest import RATE, tiny_config
from tests.songs import excerpt
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
    small = {
        "model": {"network": listed(asdict(tiny_config())), "front_end": {"n_fft": 512, "hop_length": 256}},
        "data": {"init_args": {"samples": 8192, "examples": 4, "batch_size": 2, "workers": 0}},
        "trainer": {"max_epochs": 1, "default_root_dir": str(tmp_path), "enable_progress_bar": False, "accelerator": "cpu"},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    configs = ["base.yaml", "vocals.yaml", "l2.yaml"] if target == "l2" else ["base.yaml", f"{target}.yaml"]
    arguments = [part for name in configs for part in ("--config", str(RECIPES / name))]
    if target != "l2":
        arguments += ["--model.loss.init_args.vgg.init_args.weights", "random"]
    main(["fit", *arguments, "--config", str(tmp_path / "small.yaml"), *musdb])
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["state_dict"].values())
