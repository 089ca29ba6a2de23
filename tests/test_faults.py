"""What happens around the program: killed, interrupted, out of disk, its folder taken away, a second process at the same work."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from separate import AudioError, AudioFormat, Job, Separator
from separate.encode import AudioWriter, publish
from tests.conftest import RATE, sound

COMMAND = [sys.executable, "-c", "from separate.cli import main; main()"]
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def long_song(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "long.wav", sound(180), RATE)
    return tmp_path / "long.wav"


def heeding_interrupts(command: list[str]) -> subprocess.Popen[str]:
    """The command, which Ctrl-C reaches also where the tests run in the background of a shell: there interrupts are ignored."""

    def heed() -> None:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed)


def start(song: Path, model: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """The command at work, returned once it has begun to write."""
    command = [*COMMAND, str(song), "--model", str(model), "-o", str(out), *options]
    process = heeding_interrupts(command)
    until = time.monotonic() + 60
    while not any(path.stat().st_size for path in out.rglob("*") if path.is_file()):
        assert process.poll() is None and time.monotonic() < until, process.stderr
        time.sleep(0.01)
    return process


def final_files(out: Path) -> list[Path]:
    return [path for path in out.rglob("*.wav") if not path.name.startswith(".")]


def test_killed_it_leaves_nothing_under_a_final_name(long_song: Path, model: Path, tmp_path: Path) -> None:
    process = start(long_song, model, tmp_path / "out")
    process.kill()
    process.wait()
    assert final_files(tmp_path / "out") == []


@pytest.mark.parametrize("number", ENDINGS)
def test_interrupted_it_cleans_up_and_says_so(long_song: Path, model: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(long_song, model, tmp_path / "out", "-q")
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number
    assert err == "separate: interrupted; finished songs are kept, nothing is half-written\n"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_terminal_that_closes_does_not_end_what_was_told_not_to_heed_it(song: Path, model: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(song), "--model", str(model), "-o", str(tmp_path / "out"), "-q", "--stem", "vocals"]
    process = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    assert process.returncode == 0 and len(final_files(tmp_path / "out")) == 1


@pytest.mark.parametrize("limit", [500_000, 3_000_000, 10_000_000])
def test_without_room_on_the_disk_there_is_one_line_and_no_file(model: Path, tmp_path: Path, limit: int) -> None:
    """A file size limit stands in for a full disk: the same error from the same calls. Spools and results hit it at different sizes."""
    soundfile.write(tmp_path / "song.wav", sound(20), RATE)
    command = [*COMMAND, str(tmp_path / "song.wav"), "--model", str(model), "-o", str(tmp_path / "out"), "-q", "--subtype", "float"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    if limit > 20 * RATE * 2 * 4 + 1000:
        assert done.returncode == 0 and len(final_files(tmp_path / "out")) == 2
    else:
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and "cannot be written" in done.stderr
        assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A real, small one: tmpfs. Needs the right to mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kilobytes", [1_000, 10_000, 14_000, 15_000, 17_500, 20_500])
def test_a_full_disk_is_noticed(separator: Separator, tmp_path: Path, kilobytes: int) -> None:
    """20 s of two stems wait in 14 112 kB and become 7 056 kB: it is full while separating, or while encoding the first or the second."""
    with disk(tmp_path / "disk", kilobytes) as folder:
        soundfile.write(tmp_path / "song.wav", sound(20), RATE)
        with pytest.raises(AudioError, match="cannot be written"):
            separator.file(tmp_path / "song.wav", Job(folder / "out"))
        assert all_files(folder) == []


@pytest.mark.parametrize("missing", [4, 40, 160])
@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg"])
def test_a_disk_that_fills_up_while_encoding_is_noticed_in_every_format(tmp_path: Path, name: str, missing: int) -> None:
    def write(folder: Path) -> Path:
        with AudioWriter(folder / "a", RATE, 2, AudioFormat(name)) as writer:
            for _ in range(10):
                writer.write(sound(2))
            publish([writer])
        return folder / "a"

    needed = write(tmp_path).stat().st_size // 1024
    with disk(tmp_path / "disk", needed - missing) as folder:
        with pytest.raises(AudioError, match="cannot be written"):
            write(folder)
        assert all_files(folder) == []


def test_a_disk_that_may_only_be_read_is_noticed(separator: Separator, song: Path, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 10_000) as folder:
        (folder / "made").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for out in (folder / "made", folder / "not made"):
            with pytest.raises(AudioError, match="cannot be written"):
                separator.file(song, Job(out))


def test_a_song_too_large_for_the_disk_does_not_stop_the_others(model: Path, tmp_path: Path) -> None:
    for name, seconds in (("a", 1), ("b", 20), ("c", 1)):
        soundfile.write(tmp_path / f"{name}.wav", sound(seconds), RATE)
    songs = [str(tmp_path / f"{name}.wav") for name in "abc"]
    with disk(tmp_path / "disk", 4_000) as folder:
        done = subprocess.run([*COMMAND, *songs, "--model", str(model), "-o", str(folder), "-q"], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.endswith(f"2 of 3 songs done, 1 failed:\n  {songs[1]}\n") and done.stderr.count("\n") == 3
        assert sorted(path.parent.name for path in all_files(folder)) == ["a", "a", "c", "c"]


def test_interrupted_it_keeps_the_songs_that_are_done(long_song: Path, song: Path, model: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(song), str(long_song), "--model", str(model), "-o", str(tmp_path / "out")]
    process = heeding_interrupts(command)
    assert process.stdout and [process.stdout.readline(), process.stdout.readline()]  # both stems of the first song have their names
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err.endswith("separate: interrupted; finished songs are kept, nothing is half-written\n")
    assert sorted(path.name for path in all_files(tmp_path / "out")) == ["accompaniment.wav", "vocals.wav"]
    assert all(soundfile.info(path).frames == 3 * RATE for path in all_files(tmp_path / "out"))


def test_of_two_processes_that_may_not_replace_one_wins(model: Path, song: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(song), "--model", str(model), "-o", str(tmp_path / "out"), "-q"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = sorted(process.communicate()[1] for process in both)
    assert sorted(process.returncode for process in both) == [0, 1]
    assert errors[0] == "" and "exists already" in errors[1]
    assert sorted(path.name for path in all_files(tmp_path / "out")) == ["accompaniment.wav", "vocals.wav"]


def test_two_processes_at_one_target_leave_one_whole_file(model: Path, song: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(song), "--model", str(model), "-o", str(tmp_path / "out"), "-q", "--overwrite", "--stem", "vocals"]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    (path,) = final_files(tmp_path / "out")
    assert soundfile.info(path).frames == 3 * RATE
    assert [path.name for path in (tmp_path / "out" / "tiny" / "song").iterdir()] == ["vocals.wav"]


def test_an_output_folder_that_is_taken_away_is_an_error(separator: Separator, song: Path, tmp_path: Path) -> None:
    def take_away(done: int, total: int | None) -> None:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)

    with pytest.raises(AudioError, match="cannot be written"):
        separator.file(song, Job(tmp_path / "out"), take_away)


def test_an_input_that_is_cut_while_being_read_is_an_error(separator: Separator, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, sound(120), RATE)
    size = song.stat().st_size

    def cut(done: int, total: int | None) -> None:
        if song.stat().st_size == size:
            os.truncate(song, size // 4)

    with pytest.raises(AudioError, match=r"truncated|damaged"):
        separator.file(song, Job(tmp_path / "out"), cut)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
