"""What differs where there is a CUDA device; skipped where there is none. `python -m benchmarks.cuda SONG` has the figures."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from recipes.train import main
from separate import Separator
from separate.cli import app
from tests.conftest import RATE, sound
from tests.songs import made_up_song

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
RECIPES = Path(__file__).parent.parent / "recipes" / "opencorpus"


def wave(seconds: float) -> torch.Tensor:
    return torch.from_numpy(sound(seconds).T)


@pytest.mark.parametrize("precision, worst", [("float32", 1e-5), ("bfloat16", 1e-3)])
def test_stems_are_the_processors(separator: Separator, model: Path, precision: str, worst: float) -> None:
    """Share of the energy: on such devices torch rounds what convolutions multiply, to 10 bits (TF32) in float32."""
    there = Separator.load(model, "cuda", precision)
    assert {parameter.device.type for parameter in there.network.parameters()} == {"cuda"}
    wanted, found = (which(wave(8), RATE, ["vocals"])["vocals"] for which in (separator, there))
    assert found.device.type == "cpu" and found.dtype == torch.float32
    assert (found - wanted).square().mean() < worst * wanted.square().mean()


@pytest.mark.parametrize("piece", [999, RATE])
def test_a_stream_in_pieces_gives_the_same(model: Path, piece: int) -> None:
    there = Separator.load(model, "cuda", "float32")
    whole = there(wave(8), RATE, ["vocals"])["vocals"]
    pieces = torch.cat([part["vocals"] for part in there.stream(wave(8).split(piece, 1), RATE, ["vocals"])], 1)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


def test_the_wiener_filter_is_the_processors(two_stem_model: Path) -> None:
    wanted, found = (
        torch.cat([part["vocals"] for part in Separator.load(two_stem_model, device, "float32").stream([wave(8)], RATE, wiener=True)], 1)
        for device in ("cpu", "cuda")
    )
    assert (found - wanted).square().mean() < 1e-4 * wanted.square().mean()


def test_sound_may_be_on_the_device(model: Path) -> None:
    there = Separator.load(model, "cuda:0")
    assert torch.equal(there(wave(3).cuda(), RATE)["vocals"], there(wave(3), RATE)["vocals"])


def test_the_command_takes_the_device(song: Path, model: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, [str(song), "--model", str(model), "--device", "cuda", "--stem", "vocals", "-o", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    (stem,) = (tmp_path / "out").rglob("vocals.*")
    wanted = Separator.load(model, "cpu", "float32")(torch.from_numpy(soundfile.read(song, dtype="float32")[0].T), RATE)["vocals"].T
    assert np.square(soundfile.read(stem)[0] - wanted.numpy()).mean() < 1e-4 * float(wanted.square().mean())


@pytest.mark.parametrize("overlay", ["four_stems.yaml", "feature_loss.yaml"])
def test_recipes_train_on_the_device_and_take_examples_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: str) -> None:
    monkeypatch.chdir(tmp_path)  # where the recipes log
    for split in ("train", "valid"):
        made_up_song(tmp_path / "songs" / split / "album" / f"for_{split}", 3.0)
    options = {
        "data.init_args.root": tmp_path / "songs",
        "data.init_args.examples": 8,
        "data.init_args.batch_size": 2,
        "data.init_args.uses": 2,
        "data.init_args.samples": 65536,
        "trainer.max_steps": 4,
        "trainer.precision": "bf16-mixed",
        "trainer.default_root_dir": tmp_path,
        "trainer.callbacks.init_args.dirpath": tmp_path,
        "trainer.enable_progress_bar": "false",
    } | ({"model.loss.init_args.vgg.init_args.weights": "random"} if overlay == "feature_loss.yaml" else {})
    configs = [part for name in ("vocals.yaml", overlay) for part in ("--config", str(RECIPES / name))]
    main(["fit", *configs, *(part for option, value in options.items() for part in (f"--{option}", str(value)))])
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    assert state["global_step"] == 4
    assert all(bool(value.isfinite().all()) for value in state["state_dict"].values())
