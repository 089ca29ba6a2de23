import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import separate
from separate import Separator, files, separator
from separate.cli import app, printable
from tests.conftest import RATE, sound

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_song_goes_in_and_its_vocals_come_out(song: Path, model: Path) -> None:
    status, out, err = run(song, "--stem", "vocals", "--model", model)
    assert status == 0
    assert out == "separated/tiny/song/vocals.wav\n"
    assert soundfile.info("separated/tiny/song/vocals.wav").frames == 3 * RATE
    assert "times real time" in err
    assert not Path("separated/tiny/song/accompaniment.wav").exists()


def test_all_options_reach_the_files(song: Path, model: Path) -> None:
    options = ["--stem", "vocals", "--stem", "accompaniment", "-o", "out", "--format", "flac", "--subtype", "24"]
    options += ["--name", "{track} {stem}.{ext}", "--start", "1", "--duration", "0.5", "--quiet", "--device", "cpu"]
    status, out, err = run(song, "--model", model, *options)
    assert (status, out, err) == (0, "", "")
    info = soundfile.info("out/song vocals.flac")
    assert (info.frames, info.subtype) == (RATE // 2, "PCM_24")
    assert Path("out/song accompaniment.flac").exists()


def test_results_within_a_folder_of_songs_are_no_songs(song: Path, model: Path) -> None:
    for existing in ("--skip-existing", "--overwrite"):
        assert run(".", "--model", model, existing, "-q") == (0, "", "")
        assert sorted(map(str, Path().rglob("*.wav"))) == [
            *(f"separated/tiny/song/{stem}.wav" for stem in ("accompaniment", "vocals")),
            "song.wav",
        ]


@pytest.mark.parametrize("name", ["{model}/{track}/{stem}.{ext}", "{track}/{stem}.{ext}", "{stem} of {track}.{ext}"])
def test_results_among_the_songs_are_not_separated_by_the_next_run(song: Path, model: Path, name: str) -> None:
    for output in (".", Path.cwd()):
        assert run(".", "-o", output, "--name", name, "--model", model, "--skip-existing", "-q") == (0, "", "")
        assert len(list(Path().rglob("*.wav"))) == 3
    assert run(*Path().rglob("vocals*.wav"), "-o", "again", "--model", model, "-q") == (0, "", "")


@pytest.mark.parametrize("output", [".", "song/.."])
def test_a_song_of_the_batch_is_not_replaced_by_anothers_stem(song: Path, model: Path, output: str) -> None:
    Path("song").mkdir()
    other = Path(shutil.copy(song, "song/vocals.wav"))
    status, _, err = run(".", "--model", model, "-o", output, "--name", "{track}/{stem}.{ext}", "--overwrite", "-q", "--stem", "vocals")
    assert status == 1 and other.read_bytes() == song.read_bytes()
    assert err.startswith(f"separate: song.wav: would be written to {Path(output) / 'song/vocals.wav'}, which is a song to separate")
    assert Path("song/vocals/vocals.wav").exists()


def test_whatever_goes_wrong_with_a_song_the_next_one_is_separated(song: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(song, "zzz.wav")
    right = files.separate_file

    def wrong(separator: Separator, path: Path, *rest: Any) -> Any:
        if path.name == "song.wav":
            raise TypeError("never thought of")
        return right(separator, path, *rest)

    monkeypatch.setattr(files, "separate_file", wrong)
    status, _, err = run(".", "--model", model, "--stem", "vocals", "-q")
    assert (status, Path("separated/tiny/zzz/vocals.wav").exists()) == (1, True)
    assert err.startswith("separate: song.wav: cannot be separated (TypeError: never thought of)\n")


def test_names_that_the_terminal_cannot_show_do_not_stop_it(song: Path, model: Path) -> None:
    song.rename("\u6b4c.wav")
    command = [sys.executable, str(ROOT / "cli.py"), ".", "--model", str(model), "--stem", "vocals"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"})
    assert done.returncode == 0 and done.stdout.split() == [b"separated/tiny/\\u6b4c/vocals.wav"]


def test_of_stems_that_were_there_no_common_gain_is_claimed(model: Path) -> None:
    soundfile.write("loud.wav", 1.5 * sound(1.0) / np.abs(sound(1.0)).max(), RATE, subtype="FLOAT")
    assert run("loud.wav", "--model", model, "--stem", "vocals", "-q")[0] == 0
    _, _, err = run("loud.wav", "--model", model, "--skip-existing")
    assert "dB, these stems alike, so that none clips" in err
    _, _, err = run("loud.wav", "--model", model, "--overwrite")
    assert "dB, all stems alike, so that none clips" in err


def test_filtered_stems_sum_to_the_song(song: Path, two_stem_model: Path) -> None:
    options = ["--model", two_stem_model, "--stem", "vocals", "--stem", "drums", "--subtype", "float", "-q"]
    stems = {}
    for folder, filtered in (("masked", []), ("filtered", ["--wiener"])):
        assert run(song, *options, *filtered, "-o", folder, "--name", "{stem}.wav") == (0, "", "")
        stems[folder] = {name: soundfile.read(f"{folder}/{name}.wav")[0] for name in ("vocals", "drums")}
    mixture, _ = soundfile.read(song)
    np.testing.assert_allclose(stems["filtered"]["vocals"] + stems["filtered"]["drums"], mixture, atol=1e-3)
    assert np.abs(stems["masked"]["vocals"] + stems["masked"]["drums"] - mixture).max() > 0.01


def test_fast_makes_one_pass(song: Path, model: Path) -> None:
    for folder, options in (("two", []), ("one", ["--fast"])):
        assert (
            run(song, "--model", model, "--stem", "vocals", "--subtype", "float", "-q", "-o", folder, "--name", "{stem}.wav", *options)[0]
            == 0
        )
    one, two = (soundfile.read(f"{folder}/vocals.wav", dtype="float32")[0] for folder in ("one", "two"))
    mixture = torch.from_numpy(soundfile.read(song, dtype="float32")[0].T)
    np.testing.assert_allclose(one, Separator.load(model, "cpu", fast=True)(mixture, RATE)["vocals"].T, atol=1e-6)
    assert np.abs(one - two).max() > 1e-3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["a.wav", ""], "the name is empty"),
        (["a.wav", "-o", ""], "the name is empty"),
        (["a.wav", "--device", "cuda:x"], "no device 'cuda:x'"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_is_done(song: Path, arguments: list[str], message: str) -> None:
    status, out, err = run(*arguments)
    assert status == 2 and not out and message in " ".join(err.replace("│", " ").split())
    assert not Path("separated").exists()


def test_a_card_that_is_not_there_is_an_error(song: Path, model: Path) -> None:
    status, _, err = run(song, "--model", model, "--device", "cuda:99")
    assert status == 1 and err == "separate: the device cuda:99 is not available here; try cpu\n"


def test_the_filter_needs_all_stems(song: Path, model: Path) -> None:
    status, _, err = run(song, "--model", model, "--wiener")
    assert status == 1
    assert err.startswith("separate: the Wiener filter needs all stems") and not list(Path().rglob("*.wav.*"))


def test_a_bad_file_does_not_stop_the_others(song: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("not music\n" * 50)
    status, out, err = run(tmp_path / "text.mp3", song, "missing.wav", "--model", model, "--stem", "vocals")
    assert status == 1
    assert out == "separated/tiny/song/vocals.wav\n"
    assert [line for line in err.splitlines() if line.startswith("separate: ")] == [
        f"separate: {tmp_path / 'text.mp3'}: is not an audio file that can be read, or is damaged",
        "separate: missing.wav: No such file or directory",
    ]
    assert err.endswith(f"1 of 3 songs done, 2 failed:\n  {tmp_path / 'text.mp3'}\n  missing.wav\n")


def test_the_summary_counts_a_folder_without_songs_and_names_it(song: Path, model: Path) -> None:
    Path("empty").mkdir()
    status, out, err = run("empty", song, "--model", model, "-q", "--stem", "vocals")
    assert (status, out) == (1, "")
    assert err == "separate: empty: no audio files in this folder\n1 of 2 songs done, 1 failed:\n  empty\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no memory\nat all"), OSError(5, "Input/output error")])
def test_whatever_one_song_does_the_rest_is_done(song: Path, model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    soundfile.write("other.wav", sound(0.2), RATE)
    real = Separator.stream

    def fail_once(self: Separator, *arguments: object) -> object:
        monkeypatch.setattr(Separator, "stream", real)
        raise error

    monkeypatch.setattr(Separator, "stream", fail_once)
    status, _, err = run(song, "other.wav", "--model", model, "-q")
    assert status == 1
    assert err.startswith(f"separate: {song}: ") and err.endswith(f"1 of 2 songs done, 1 failed:\n  {song}\n") and err.count("\n") == 3
    assert soundfile.info("separated/tiny/other/vocals.wav").frames == round(0.2 * RATE)


ODD_NAMES = [
    "Ünïcödé 音 🎵.wav",
    "new\nline.wav",
    "-q.wav",
    "[bold]{braces}%s.wav",
    "\x1b[2Jclear.wav",
    "\udcff\udcfe.wav",
    " .wav",
]
ODD_NAMES += ["a" * 251 + ".wav", "no ending", "con.wav", "semi;colon&$(x).wav", "'\"quotes.wav", "back\\slash.wav", "\u202ertl.wav"]


def test_only_what_commands_a_terminal_is_escaped_all_else_is_printed_as_it_is() -> None:
    for name in ("全角\u3000空白", "no\u00a0break", "👩\u200d🎤", "می\u200cخواهم", "soft\u00adhyphen", "Ünïcödé 🎵"):
        assert printable(name) == name
    for char in "\n\x1b\x7f\x9b\u2028\u2029\u200e\u200f\u202a\u202e\u2066\u2069\udcff":
        assert printable(char).startswith("\\") and printable(char).isascii()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_separated_and_printed_in_one_line(model: Path, name: str) -> None:
    soundfile.write("plain.wav", sound(0.1), RATE)
    Path("plain.wav").rename(name)
    status, out, err = run("--stem", "vocals", "--model", model, "--", name)
    assert status == 0
    assert out.isascii() or out.strip().isprintable()
    assert out.count("\n") == 1 and all(line.isprintable() for line in err.splitlines()) and err.count("\n") == len(err.splitlines())
    assert (Path("separated/tiny") / Path(name).stem / "vocals.wav").is_file()


@pytest.mark.parametrize(
    "name", ["a" * 300, "x/" * 3000, "/dev/zero", "/dev/null", "/proc/self/mem", "...wav", "concat:a|b", "http://127.0.0.1/a.mp3"]
)
def test_what_can_be_no_song_is_one_line_and_the_next_is_done(song: Path, model: Path, name: str) -> None:
    status, _, err = run("--model", model, "--stem", "vocals", "-q", name, song)
    assert status == 1
    assert err.count("\n") == 3 and err.startswith("separate: ") and "1 of 2 songs done" in err
    assert Path("separated/tiny/song/vocals.wav").is_file()


def test_existing_results_are_kept_unless_told(song: Path, model: Path) -> None:
    assert run(song, "--model", model, "-q")[0] == 0
    assert run(song, "--model", model, "-q")[0] == 1
    assert run(song, "--model", model, "--skip-existing")[0] == 0
    assert run(song, "--model", model, "--overwrite", "-q")[0] == 0


def test_two_songs_of_one_name_do_not_overwrite_each_other(tmp_path: Path, model: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "song.wav", sound(0.2), RATE)
    status, _, err = run("a/song.wav", "b/song.wav", "--model", model, "--overwrite")
    assert status == 1
    assert "b/song.wav: would be written to" in err


def test_a_song_that_failed_does_not_keep_its_name_from_another(song: Path, model: Path) -> None:
    Path("a").mkdir()
    Path("a/song.wav").write_text("no music")
    status, _, err = run("a/song.wav", song, "--model", model)
    assert status == 1 and "1 of 2 songs done, 1 failed" in err
    assert soundfile.info("separated/tiny/song/vocals.wav").frames == 3 * RATE


def test_it_works_without_a_place_for_messages(song: Path, model: Path) -> None:
    command = [sys.executable, "-c", "from separate.cli import main; main()", str(song), "--model", str(model)]
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *command], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["separated/tiny/song/vocals.wav", "separated/tiny/song/accompaniment.wav"]


def wrong_inputs(tmp_path: Path) -> dict[str, Path]:
    wave = sound(1)
    soundfile.write(tmp_path / "none.wav", wave[:0], RATE)
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), RATE)
    bad = wave.copy()
    bad[5] = np.nan
    soundfile.write(tmp_path / "nan.wav", bad, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "cut.mp3", sound(5), RATE)
    (tmp_path / "cut.mp3").write_bytes((tmp_path / "cut.mp3").read_bytes()[:20000])
    (tmp_path / "text.mp3").write_text("not music\n" * 50)
    return {name: tmp_path / name for name in ("none.wav", "six.wav", "nan.wav", "cut.mp3", "text.mp3", "missing.wav")}


@pytest.mark.parametrize(
    "name, message",
    [
        ("none.wav", "holds no audio"),
        ("six.wav", "has 6 channels"),
        ("nan.wav", "not numbers"),
        ("cut.mp3", "truncated"),
        ("text.mp3", "not an audio file"),
        ("missing.wav", "No such file"),
    ],
)
def test_wrong_input_gives_one_line_and_no_file(tmp_path: Path, model: Path, name: str, message: str) -> None:
    status, out, err = run(wrong_inputs(tmp_path)[name], "--model", model)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1 and message in err and name in err
    assert not [path for path in Path("separated").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--stem", "tuba"], "no stem 'tuba'"),
        (["--model", "nonsense"], "no model 'nonsense'"),
        (["--format", "mp3", "--subtype", "24"], "mp3 has no subtype"),
        (["--name", "x.wav"], "template"),
        (["--name", "{stem!z}"], "template"),
        (["--name", "{stem:d}.wav"], "template"),
        (["--name", "a" * 300 + "{stem}"], "File name too long"),
        (["--name", "a" * 300 + "{stem}", "--stem", "vocals"], "File name too long"),
        (["--model", "a" * 300], "no model"),
        (["-o", "a" * 300], "File name too long"),
        (["-o", "in_the_way/out"], "cannot be written"),
    ],
)
def test_wrong_options_give_one_line(song: Path, model: Path, options: list[str], message: str) -> None:
    Path("in_the_way").write_text("")
    status, out, err = run(song, "--model", model, *options)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1 and message in err


def test_wrong_usage_is_status_2(song: Path) -> None:
    assert run()[0] == 2
    assert run(song, "--overwrite", "--skip-existing")[0] == 2
    assert run(song, "--format", "aac")[0] == 2


def test_corrupt_weights_are_one_line(song: Path, model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "card.json").write_bytes((model / "card.json").read_bytes())
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (broken / "model.safetensors").write_bytes(data)
    status, _, err = run(song, "--model", broken)
    assert status == 1
    assert err.count("\n") == 1 and "sha256" in err


def test_models_and_version_can_be_listed() -> None:
    assert run("--version")[1] == f"{separate.__version__}\n"
    cards = json.loads(run("--list-models", "--json")[1])
    for card in cards:
        assert {"name", "licence", "sources", "scores", "sha256"} <= set(card)
    assert run("--list-models")[1].count("\n") == len(cards)


def test_help_answers_without_loading_torch() -> None:
    code = "import sys; sys.argv = ['separate', '--help']\nfrom separate.cli import main\n"
    code += "try: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--skip-existing" in done.stdout


def test_the_checkout_runs_without_being_installed(song: Path, model: Path) -> None:
    command = [sys.executable, str(ROOT / "cli.py"), str(song), "--stem", "vocals", "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "separated/tiny/song/vocals.wav\n"


def test_a_card_that_cannot_be_used_is_said_in_one_line(song: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(separator, "_trouble", lambda device: "no kernel image")
    status, _, err = run(song, "--model", model, "-o", song.parent / "out", "--quiet")
    assert status == 0
    assert err == "separate: the device cuda cannot be used, the processor computes instead (no kernel image)\n"
