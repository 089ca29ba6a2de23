import csv
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import museval
import numpy as np
import pytest
import soundfile
import torch

from benchmarks.processes import alone
from recipes import score
from separate import Separator
from separate.data.references import mixture, references
from separate.data.stems import open_song
from separate.scoring import global_sdr
from tests.conftest import RATE, store_model
from tests.recipes.mortal import mortal_score_song
from tests.songs import STEMS, made_up_song

BACKING = ("drums", "bass", "other")


class Here:
    """A pool of no processes: faster, and what the test changes is seen."""

    def __init__(self, *_: object) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def submit(self, function: object, *arguments: object) -> object:
        future: Future[object] = Future()
        try:
            future.set_result(function(*arguments))  # type: ignore[operator]
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "ProcessPoolExecutor", Here)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", os.environ.get("OPENBLAS_NUM_THREADS", "1"))


def scores(out: Path) -> dict[tuple[str, str, str], float]:
    with (out / "scores.csv").open() as file:
        return {(row["track"], row["stem"], row["protocol"]): float(row["score"]) for row in csv.DictReader(file)}


def stems_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: soundfile.read(path, dtype="float32")[0] for path in sorted(folder.glob("*.wav"))}


def write_estimates(song: Path, folder: Path, gain: float = 0.9, backing: str = "accompaniment") -> Path:
    """Vocals and backing of a song, quieter than they are: a global SDR that is known."""
    stems = stems_of(song)
    folder.mkdir(parents=True)
    soundfile.write(folder / "vocals.wav", gain * stems["vocals"], RATE, subtype="FLOAT")
    soundfile.write(folder / f"{backing}.wav", gain * sum(stems[stem] for stem in BACKING), RATE, subtype="FLOAT")
    return folder


def run(tmp_path: Path, *options: str) -> int:
    return score.main([str(tmp_path / "songs"), str(tmp_path / "out"), *options])


def run_estimates(tmp_path: Path) -> int:
    return run(tmp_path, "--estimates", str(tmp_path / "estimates"))


def test_a_folder_is_scored_by_processes_into_what_museval_reads(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_up_song(tmp_path / "songs" / "one", 2.0)
    made_up_song(tmp_path / "songs" / "two", 2.0, seed=1)
    assert run(tmp_path, "--model", str(model), "--precision", "float32", "--jobs", "2") == 0
    table = capsys.readouterr().out
    store = museval.EvalStore()
    store.add_eval_dir(str(tmp_path / "out" / "museval"))
    frames = store.agg_frames_tracks_scores()
    line = next(line for line in table.splitlines() if line.startswith("vocals") and "museval SDR" in line)
    assert float(line.split()[-3]) == pytest.approx(frames["vocals", "SDR"], abs=1e-3)
    assert (tmp_path / "out" / "scores.png").stat().st_size > 1000
    stems = stems_of(folder)
    mixed = torch.from_numpy(sum(stems.values()).T.copy())
    vocals = Separator.load(model, "cpu", "float32")(mixed, RATE, ["vocals"])["vocals"].T.numpy()
    assert scores(tmp_path / "out")["one", "vocals", "global SDR"] == pytest.approx(global_sdr(stems["vocals"], vocals), abs=1e-3)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix == ".wav"]  # what was separated is gone


def test_what_is_scored_is_not_scored_again_until_it_is_something_else(here: None, model: Path, tmp_path: Path) -> None:
    folder = made_up_song(tmp_path / "songs" / "one", 1.0)
    copy = tmp_path / "model"
    shutil.copytree(model, copy)

    def fresh(*options: str) -> bool:
        """Whether a score that was tampered with is gone after another run."""
        (stored,) = (tmp_path / "out" / "scored").glob("*.json")
        content = json.loads(stored.read_text())
        content["rows"][0]["score"] = 77.0
        stored.write_text(json.dumps(content))
        score.load_separator.cache_clear()
        assert run(tmp_path, "--model", str(copy), *options) == 0
        return 77.0 not in scores(tmp_path / "out").values()

    assert run(tmp_path, "--model", str(copy), "--precision", "float32") == 0
    assert not fresh("--precision", "float32")
    assert fresh("--precision", "bfloat16")
    assert not fresh("--precision", "bfloat16")
    assert fresh("--precision", "bfloat16", "--fast")
    shutil.rmtree(copy)
    store_model(copy, ("vocals", "drums"))
    assert fresh("--precision", "bfloat16")
    soundfile.write(folder / "drums.wav", 0.5 * stems_of(folder)["drums"], RATE)
    assert fresh("--precision", "bfloat16")
    soundfile.write(folder / "mixture.wav", stems_of(folder)["vocals"], RATE)
    assert fresh("--precision", "bfloat16")
    assert not fresh("--precision", "bfloat16")


def test_other_estimates_are_scored_again(here: None, tmp_path: Path) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.0)
    write_estimates(song, tmp_path / "estimates" / "one")
    assert run_estimates(tmp_path) == 0
    assert scores(tmp_path / "out")["one", "accompaniment", "global SDR"] == pytest.approx(20.0, abs=0.01)
    shutil.rmtree(tmp_path / "estimates")
    write_estimates(song, tmp_path / "estimates" / "one", gain=0.5)
    assert run_estimates(tmp_path) == 0
    assert scores(tmp_path / "out")["one", "accompaniment", "global SDR"] == pytest.approx(6.02, abs=0.01)
    shutil.rmtree(tmp_path / "estimates")
    assert run_estimates(tmp_path) == 1
    assert not scores(tmp_path / "out") and not list((tmp_path / "out" / "museval").rglob("*.json"))  # museval would read it


@pytest.mark.parametrize(
    ("place", "backing"),
    [("one", "accompaniment"), ("test/one", "accompaniment"), ("four-open/one", "no_vocals"), ("htdemucs/one", "no_vocals")],
)
def test_estimates_are_found_where_tools_put_them(here: None, tmp_path: Path, place: str, backing: str) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.0)
    write_estimates(song, tmp_path / "estimates" / place, backing=backing)
    (song / "notes").symlink_to(tmp_path / "nowhere")  # no harm
    assert run_estimates(tmp_path) == 0
    assert scores(tmp_path / "out")["one", "accompaniment", "global SDR"] == pytest.approx(20.0, abs=0.01)


def test_two_estimates_of_one_stem_are_an_error(here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.0)
    write_estimates(song, tmp_path / "estimates" / "one")
    shutil.copy(tmp_path / "estimates/one/accompaniment.wav", tmp_path / "estimates/one/no_vocals.wav")
    assert run_estimates(tmp_path) == 1
    assert "both accompaniment.wav and no_vocals.wav are there; which one is meant?" in capsys.readouterr().err


def test_estimates_of_another_length_are_cut_or_padded_as_museval_does(here: None, tmp_path: Path) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.5)
    folder = write_estimates(song, tmp_path / "estimates" / "one")
    vocals = stems_of(folder)["vocals"]
    soundfile.write(folder / "vocals.wav", vocals[:-3000], RATE, subtype="FLOAT")
    soundfile.write(folder / "accompaniment.wav", np.pad(stems_of(folder)["accompaniment"], ((0, 500), (0, 0))), RATE, subtype="FLOAT")
    assert run_estimates(tmp_path) == 0
    padded = np.pad(vocals[:-3000], ((0, 3000), (0, 0)))
    found = scores(tmp_path / "out")
    assert found["one", "vocals", "global SDR"] == pytest.approx(global_sdr(stems_of(song)["vocals"], padded), abs=1e-4)
    assert found["one", "accompaniment", "global SDR"] == pytest.approx(20.0, abs=0.01)


def test_songs_that_cannot_be_scored_are_named_and_the_others_go_on(here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs, estimates = tmp_path / "songs", tmp_path / "estimates"
    for number, name in enumerate(("good", "vocals only", "lonely", "absent", "twice", "slow", "broken", "uneven")):
        write_estimates(made_up_song(songs / name, 1.0, seed=number), estimates / name)
    for stem in BACKING:
        (songs / "vocals only" / f"{stem}.wav").unlink()
    (estimates / "lonely" / "accompaniment.wav").unlink()
    shutil.rmtree(estimates / "absent")
    (estimates / "model a").mkdir()
    (estimates / "model b").mkdir()
    shutil.copytree(estimates / "twice", estimates / "model a" / "twice")
    (estimates / "twice").rename(estimates / "model b" / "twice")
    soundfile.write(estimates / "slow" / "vocals.wav", np.zeros((100, 2)), 22050)
    (estimates / "broken" / "vocals.wav").write_bytes(b"RIFF")
    soundfile.write(songs / "uneven" / "bass.wav", np.zeros((100, 2)), RATE)
    assert run_estimates(tmp_path) == 1
    out, errors = capsys.readouterr()
    assert {track for track, _, _ in scores(tmp_path / "out")} == {"good"}
    assert errors.startswith("7 of 8 songs could not be scored:\n") and len(errors.splitlines()) == 8
    for words in (
        "vocals only: only vocals",
        "lonely: only vocals",
        "absent: no estimates",
        "twice: estimates in",
        "22050 Hz",
        "broken",
        "uneven",
    ):
        assert words in errors
    assert "absent: no scores" in out


def test_what_a_killed_process_left_is_cleared_away(here: None, model: Path, tmp_path: Path) -> None:
    made_up_song(tmp_path / "songs" / "one", 1.0)
    left = tmp_path / "songs" / ".unfinished" / "one" / "vocals.wav"  # scores that go where the songs are
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a song")
    assert score.main([str(tmp_path / "songs"), str(tmp_path / "songs"), "--model", str(model)]) == 0
    assert not left.parent.parent.exists()


def test_a_process_that_dies_costs_only_the_song_that_kills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "score_song", mortal_score_song)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", os.environ.get("OPENBLAS_NUM_THREADS", "1"))
    folders = [tmp_path / name for name in ("killer", "unlucky", "good", "better", "best")]
    for folder in folders:
        folder.mkdir()
    rows, failures = score.score_all(folders, 2)
    assert [row["track"] for row in rows] == ["unlucky", "good", "better", "best"]
    assert failures == {"killer": "killer: its process died twice; is there too little memory?"}
    assert [len((folder / "tries").read_text()) for folder in folders] == [2, 2, 1, 1, 1]


def test_a_silent_stem_is_said_so_and_stays_said_so(here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.0)
    write_estimates(song, tmp_path / "estimates" / "one")
    soundfile.write(song / "vocals.wav", np.zeros((RATE, 2)), RATE)
    for _ in range(2):
        assert run_estimates(tmp_path) == 0
        assert "one; the reference of vocals is silent: no museval score" in capsys.readouterr().out
    found = scores(tmp_path / "out")
    assert np.isnan(found["one", "vocals", "museval SDR"]) and np.isfinite(found["one", "accompaniment", "global SDR"])


def test_a_model_that_is_not_there_is_one_line(here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up_song(tmp_path / "songs" / "one", 1.0)
    assert run(tmp_path, "--model", "nonesuch") == 1
    error = capsys.readouterr().err
    assert "nonesuch" in error and error.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert score.main([str(tmp_path / "empty"), str(tmp_path / "out")]) == 1
    assert "no folder in it holds files named like" in capsys.readouterr().err


def test_only_the_test_songs_of_musdb18_hq_are_scored(tmp_path: Path) -> None:
    for split in ("train", "test"):
        made_up_song(tmp_path / "musdb18hq" / split / f"a {split} song", 0.1)
    assert [folder.name for folder in score.song_folders(tmp_path / "musdb18hq", tmp_path)] == ["a test song"]
    assert [folder.name for folder in score.song_folders(tmp_path / "musdb18hq" / "train", tmp_path)] == ["a train song"]


def test_linked_songs_are_scored_too(tmp_path: Path) -> None:
    elsewhere = made_up_song(tmp_path / "disk" / "one", 0.01)
    made_up_song(tmp_path / "songs" / "two", 0.01)
    made_up_song(tmp_path / "songs" / ".hidden" / "three", 0.01)
    (tmp_path / "songs" / "linked").symlink_to(elsewhere, target_is_directory=True)
    assert [folder.name for folder in score.song_folders(tmp_path / "songs", tmp_path)] == ["linked", "two"]


def test_backing_that_is_there_whole_and_in_parts_counts_once(tmp_path: Path) -> None:
    folder = made_up_song(tmp_path / "one", 0.5)
    stems = stems_of(folder)
    soundfile.write(folder / "accompaniment.wav", sum(stems[stem] for stem in BACKING), RATE, subtype="FLOAT")
    song = open_song(folder)
    assert song is not None
    expected = sum(stems[stem] for stem in BACKING)
    np.testing.assert_allclose(references(song)["accompaniment"](0, song.samples), expected, atol=1e-6)
    np.testing.assert_allclose(mixture(song)(0, song.samples), expected + stems["vocals"], atol=1e-6)


@pytest.mark.parametrize(("samples", "rate", "channels"), [(RATE - 1, RATE, 2), (RATE, 48000, 2), (RATE, RATE, 3)])
def test_a_mixture_that_does_not_fit_its_stems_is_refused_before_anything_is_computed(
    here: None,
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    samples: int,
    rate: int,
    channels: int,
) -> None:
    folder = made_up_song(tmp_path / "songs" / "one", 1.0)
    soundfile.write(folder / "mixture.wav", np.zeros((samples, channels)), rate)
    monkeypatch.setattr(Separator, "stream", lambda *_: pytest.fail("computed"))
    assert run(tmp_path, "--model", str(model)) == 1
    assert f"mixture.wav: {samples} samples, {rate} Hz, {channels} channels, but the stems" in capsys.readouterr().err


def test_the_mixture_file_is_what_is_separated(here: None, tmp_path: Path, model: Path) -> None:
    folder = made_up_song(tmp_path / "songs" / "one", 1.0)
    soundfile.write(folder / "mixture.wav", stems_of(folder)["bass"], RATE, subtype="FLOAT")
    song = open_song(folder)
    assert song is not None
    found = score.separate_song(Separator.load(model, "cpu", "float32"), song, ["vocals", "accompaniment"], tmp_path)
    parts = [soundfile.read(path, dtype="float32")[0] for path in found.values()]
    np.testing.assert_allclose(sum(parts), stems_of(folder)["bass"], atol=1e-5)


def test_estimates_are_scored_without_torch_or_museval(tmp_path: Path) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.0)
    write_estimates(song, tmp_path / "estimates" / "one")
    code = (
        "import sys; import recipes.score as score; from pathlib import Path\n"
        f"score.score_song(Path({str(song)!r}), Path({str(tmp_path)!r}), Path({str(tmp_path / 'estimates')!r}), None, 'auto', False)\n"
        "assert not {'torch', 'museval', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_job_takes_one_core_unless_told_otherwise(here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = made_up_song(tmp_path / "songs" / "one", 1.0)
    write_estimates(song, tmp_path / "estimates" / "one")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert run_estimates(tmp_path) == 0
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("1", "3")


def test_memory_does_not_grow_with_the_song(tmp_path: Path, model: Path) -> None:
    def peak(seconds: int) -> float:
        folder = made_up_song(tmp_path / "songs" / f"{seconds}", 1.0)
        for number, stem in enumerate(STEMS):
            noise = np.random.default_rng(number).normal(0, 0.1, (8000, 2)).astype(np.float32)
            soundfile.write(folder / f"{stem}.wav", np.tile(noise, (seconds, 1)), 8000)
        return alone(score.score_song, folder, tmp_path / "out", None, str(model), "float32", False)[1]

    (tmp_path / "out").mkdir()
    assert peak(300) < peak(40) + 40  # MB; a single stereo wave of it is 19 MB in float32, and there are six
