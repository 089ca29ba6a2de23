import subprocess
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch
import yaml

from recipes import ablation, train
from recipes.relic import instruments, pretrain, probe
from separate.errors import ModelError
from separate.frontend import FrontEndConfig
from separate.models.config import PRESETS
from separate.models.vgg import NAMES
from separate.pretrained import load, read_card
from separate.tasks.relic import VGGEncoder
from separate.tasks.separation import SeparationTask
from tests.conftest import RATE, store_model
from tests.recipes.test_ablation import shrink
from tests.recipes.test_recipes import RECIPES
from tests.songs import made_up_song

RELIC = RECIPES.parent / "relic"


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("songs")
    for split, seed in (("train", 1), ("train", 2), ("valid", 3)):
        made_up_song(root / split / "album" / f"song{seed}", 4.0, seed=seed)
    return root


@pytest.mark.parametrize("overlays", [["vgg.yaml"], ["vgg.yaml", "separator.yaml"]])
def test_pre_training_runs_to_the_end_and_can_be_probed(songs: Path, tmp_path: Path, overlays: list[str]) -> None:
    """As the recipe stands, but for the size: two steps, few examples."""
    arguments = [part for name in overlays for part in ("--config", str(RELIC / name))]
    small = ["--data.init_args.batch_size", "2", "--data.init_args.examples", "4", "--data.init_args.workers", "0"]
    small += [
        "--trainer.max_steps",
        "2",
        "--trainer.accelerator",
        "cpu",
        "--trainer.logger",
        "false",
        "--trainer.enable_progress_bar",
        "false",
    ]
    pretrain.main(["fit", *arguments, "--data.init_args.root", str(songs), "--trainer.default_root_dir", str(tmp_path), *small])
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 2
    drawn = {name: value.clone() for name, value in probe.encoder("vgg11" if len(overlays) == 1 else "strided").state_dict().items()}
    trained = probe.encoder(str(checkpoint)).state_dict()
    assert drawn.keys() == trained.keys()
    assert any(not torch.equal(drawn[name], trained[name]) for name in drawn)


@pytest.mark.parametrize("name", [*NAMES, *PRESETS])
def test_a_checkpoint_is_probed_as_the_encoder_that_it_holds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Path("vgg-run") / "last.ckpt"
    checkpoint.parent.mkdir()
    saved = probe.encoder(name).eval()
    magnitude = torch.rand(1, 2, probe.window(saved).bins, 16)
    for parameter in saved.parameters():
        parameter.data *= 1.1  # not as drawn
    torch.save({"state_dict": {f"encoder.{key}": value for key, value in saved.state_dict().items()}}, checkpoint)
    found = probe.encoder(str(checkpoint)).eval()
    with torch.no_grad():
        assert torch.equal(found(magnitude), saved(magnitude))


def test_what_is_no_encoder_that_the_probe_knows_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shallow = VGGEncoder("vgg19", "relu2_1").state_dict()
    torch.save({"state_dict": {f"encoder.{key}": value for key, value in shallow.items()}}, tmp_path / "last.ckpt")
    with pytest.raises(ModelError, match=rf"last.ckpt: its encoder is none of {', '.join(NAMES)} \(up to relu3_1\), {', '.join(PRESETS)}$"):
        probe.encoder(str(tmp_path / "last.ckpt"))
    monkeypatch.setattr("sys.argv", ["probe", "songs", "instruments", "mine=vgg-run/last.ckpt"])
    with pytest.raises(SystemExit):
        probe.main()
    assert capsys.readouterr().err.endswith("error: vgg-run/last.ckpt: cannot be read (No such file or directory)\n")


def test_the_regulariser_is_trained_beside_plain_training(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison as it stands, in this process and unscored."""
    monkeypatch.setattr(subprocess, "run", lambda command, check: train.main(command[command.index("fit") :]))
    monkeypatch.setattr(ablation, "score", lambda *_, **__: [])
    settings = yaml.safe_load((RELIC / "comparison.yaml").read_text())
    two = {name: {**settings[name], "seeds": [0]} for name in ("l2", "relic_alpha_10")}
    shrink(RELIC, tmp_path / "recipe", two)
    start = store_model(tmp_path / "start", ("vocals",))
    ablation.main([str(tmp_path / "recipe"), str(songs), str(tmp_path / "out"), f"start={start}"])
    weights = [(tmp_path / "out" / f"{name}-0" / "model" / "model.safetensors").read_bytes() for name in two]
    assert weights[0] != weights[1]


def test_the_probe_tells_what_can_be_told_and_nothing_else() -> None:
    """Tones against noise with an encoder that keeps the spectrum; the same clips with classes at random are at chance."""

    class Spectrum(torch.nn.Module):
        def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
            return magnitude.mean((1, 3)).log1p()

    rng = np.random.default_rng(0)

    def clips(names: list[str], rule) -> probe.Clips:
        waves, classes, owners = [], [], []
        for song in names:
            for number in range(8):
                tone = np.sin(np.arange(8192) * rng.uniform(0.02, 0.5))
                wave = tone if number % 2 else rng.normal(size=8192)
                waves.append(np.stack([wave, wave]))
                classes.append(rule(number))
                owners.append(song)
        return torch.tensor(np.array(waves), dtype=torch.float32), torch.tensor(classes), owners

    train, test = [f"a{i}" for i in range(10)], [f"b{i}" for i in range(10)]
    assert probe.probe(Spectrum(), clips(train, lambda n: n % 2), clips(test, lambda n: n % 2)) > 0.9
    luck = probe.probe(Spectrum(), clips(train, lambda n: int(rng.integers(2))), clips(test, lambda n: int(rng.integers(2))))
    assert 0.3 < luck < 0.7


def test_clips_come_from_all_stems_and_only_where_they_sound(songs: Path) -> None:
    waves, classes, owners = probe.collect(probe.stem_clips(songs / "train", 1), 4, 0)
    assert waves.shape[1:] == (2, probe.SAMPLES)
    assert set(classes.tolist()) == {0, 1, 2, 3}
    assert set(owners) == {"album/song1", "album/song2"}


def score() -> mido.MidiFile:
    """Thirty notes of a piano, five of a trumpet, thirty strokes of a drum."""
    midi = mido.MidiFile()
    track = mido.MidiTrack()
    midi.tracks.append(track)
    track.append(mido.Message("program_change", channel=0, program=0))
    track.append(mido.Message("program_change", channel=1, program=56))
    for number in range(30):
        for channel in (0, 9, *((1,) if number < 5 else ())):
            track.append(mido.Message("note_on", channel=channel, note=60, velocity=90, time=10))
            track.append(mido.Message("note_off", channel=channel, note=60, time=10))
    return midi


def test_an_instrument_is_alone_and_keeps_its_time() -> None:
    midi = score()
    piano, drums = instruments.alone(midi, "piano"), instruments.alone(midi, "drums")
    assert instruments.alone(midi, "brass") is None
    for part, channel in ((piano, 0), (drums, 9)):
        struck = [message.channel for message in part.tracks[0] if message.type == "note_on"]
        assert struck == [channel] * 30

        def times(source: mido.MidiFile, channel: int = channel) -> list[int]:
            clock, found = 0, []
            for message in mido.merge_tracks(source.tracks):
                clock += message.time
                if message.type == "note_on" and message.channel == channel:
                    found.append(clock)
            return found

        assert times(part) == times(midi)


def test_songs_are_held_out_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "freedoom_midi").mkdir()
    for name in ("d_e1m1", "d_e4m2"):
        score().save(tmp_path / "freedoom_midi" / f"{name}.mid")
    wave = np.zeros((40 * RATE, 2), dtype=np.float32)
    wave[5 * RATE : 35 * RATE] = 0.5
    monkeypatch.setattr(instruments, "play", lambda _: wave)
    instruments.main([str(tmp_path), str(tmp_path / "out")])
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.flac"))
    assert not list((tmp_path / "out").rglob("*.part"))
    assert found == ["test/drums/d_e4m2.flac", "test/piano/d_e4m2.flac", "train/drums/d_e1m1.flac", "train/piano/d_e1m1.flac"]
    stored, _ = soundfile.read(tmp_path / "out" / found[0])
    assert len(stored) == 30 * RATE and np.abs(stored).min() > 0.6  # the half minute that sounds


def test_a_corpus_without_arrangements_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        instruments.main([str(tmp_path), str(tmp_path / "out")])
    assert f"no MIDI files under {tmp_path / 'freedoom_midi'}" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["relic/base.yaml", "opencorpus/vocals.yaml"])
def test_the_default_model_can_be_trained_on(recipe: str) -> None:
    model = yaml.safe_load((RECIPES.parent / recipe).read_text())["model"]
    start = RECIPES.parent.parent / "pretrained" / "four-open"
    task = SeparationTask(model["targets"], model["network"], FrontEndConfig(**model["front_end"]), initial_model=start)
    own = load(start, read_card(start)).state_dict()["full.stem.0.weight"]
    torch.testing.assert_close(task.network.full.stem[0].weight, own)
