import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError, AudioFormat
from separate import encode as module
from separate.encode import AudioWriter, publish, temporary_beside
from tests.conftest import RATE, sound


def write(path: Path, wave: np.ndarray, form: AudioFormat, **arguments) -> Path:
    with AudioWriter(path, RATE, wave.shape[1], form, len(wave), **arguments) as writer:
        for start in range(0, len(wave), 5000):
            writer.write(wave[start : start + 5000])
        publish([writer])
    return path


@pytest.mark.parametrize(
    "name, subtype, step",
    [("wav", "16", 2**-15), ("wav", "24", 2**-23), ("wav", "float", 0), ("flac", "16", 2**-15), ("flac", "24", 2**-23)],
)
def test_lossless_formats_have_the_bits_they_say(tmp_path: Path, name: str, subtype: str, step: float) -> None:
    wave = sound(1)
    out, rate = soundfile.read(write(tmp_path / "a", wave, AudioFormat(name, subtype)), always_2d=True)
    assert (rate, out.shape) == (RATE, wave.shape)
    assert np.abs(out - wave).max() <= step
    if step:
        assert np.abs(out - wave).max() > step / 8  # not finer than it says: so not coarser than needed either


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_tags_are_carried_over(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a", sound(1), AudioFormat(name), tags={"title": "Düne", "artist": "B"})
    with soundfile.SoundFile(path) as file:
        assert (file.title, file.artist) == ("Düne", "B")


def test_a_long_ogg_is_encoded_whole(tmp_path: Path) -> None:
    wave = np.tile(sound(10), (30, 1))
    with AudioWriter(tmp_path / "a.ogg", RATE, 2, AudioFormat("ogg")) as writer:
        writer.write(wave)
        publish([writer])
    assert soundfile.info(tmp_path / "a.ogg").frames == len(wave)


def test_float_is_not_clamped_and_integers_refuse_to_clip(tmp_path: Path) -> None:
    loud = 4 * sound(0.5)
    out, _ = soundfile.read(write(tmp_path / "a.wav", loud, AudioFormat("wav", "float")), dtype="float32")
    np.testing.assert_array_equal(out, loud)
    with pytest.raises(AudioError, match="full scale"):
        write(tmp_path / "b.wav", loud, AudioFormat("wav", "16"))
    assert not (tmp_path / "b.wav").exists()


def test_more_than_4_gib_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RF64_BYTES", 1000)
    path = write(tmp_path / "a.wav", sound(0.1), AudioFormat())
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).frames == len(sound(0.1))


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"precious")
    with pytest.raises(RuntimeError), AudioWriter(tmp_path / "a.wav", RATE, 2, AudioFormat()) as writer:
        writer.write(sound(0.1))
        raise RuntimeError("the process that feeds it failed")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.wav", b"precious")]


def test_nothing_is_left_of_a_file_that_was_not_even_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile, "SoundFile", stopped)
    with pytest.raises(KeyboardInterrupt):
        AudioWriter(tmp_path / "a.wav", RATE, 2, AudioFormat())
    assert not list(tmp_path.iterdir())


def test_the_file_appears_when_it_is_published_only(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "a.wav", RATE, 2, AudioFormat()) as writer:
        writer.write(sound(0.1))
        writer.close()
        assert not (tmp_path / "a.wav").exists()
        publish([writer])
        assert (tmp_path / "a.wav").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").stat().st_mode & 0o400


def publish_three(folder: Path, replace: bool) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(AudioWriter(folder / f"{name}.wav", RATE, 2, AudioFormat())) for name in "abc"]
        for writer in writers:
            writer.write(sound(0.1))
        publish(writers, "overwrite" if replace else "refuse")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(params=["with hard links", "without hard links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without hard links":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.usefixtures("links")
def test_what_is_there_is_not_replaced_unless_told(tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(b"precious")
    with pytest.raises(AudioError, match=r"b\.wav: exists already"):
        publish_three(tmp_path, replace=False)
    assert contents(tmp_path) == {"b.wav": b"precious"}
    publish_three(tmp_path, replace=True)
    assert {name: len(content) for name, content in contents(tmp_path).items()} == dict.fromkeys(("a.wav", "b.wav", "c.wav"), 17684)


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("replace", [False, True])
def test_a_link_that_leads_nowhere_is_something_too(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "b.wav").symlink_to(tmp_path / "gone")
    if replace:
        publish_three(tmp_path, replace)
        assert not (tmp_path / "b.wav").is_symlink()
    else:
        with pytest.raises(AudioError, match="exists already"):
            publish_three(tmp_path, replace)
        assert (tmp_path / "b.wav").is_symlink()
    assert not (tmp_path / "gone").exists()


@pytest.mark.usefixtures("links")
def test_of_several_files_all_are_replaced_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"precious")
    (tmp_path / "c.wav").mkdir()
    with pytest.raises(AudioError, match=r"c\.wav: cannot be written, it is a folder"):
        publish_three(tmp_path, replace=True)
    assert contents(tmp_path) == {"a.wav": b"precious"}


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("replace", [False, True])
def test_if_the_last_cannot_be_named_the_first_are_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    if replace:
        for name in "ac":
            (tmp_path / f"{name}.wav").write_bytes(b"precious")
    before, real, real_link = contents(tmp_path), Path.replace, os.link

    def fail_at_c(source: Path, target: Path) -> Path:
        if target.name == "c.wav" and source.stat().st_size > 8:
            raise OSError(5, "Input/output error")
        return real(source, target)

    def link_but_c(source: Path, target: Path) -> None:
        if target.name == "c.wav":
            raise OSError(5, "Input/output error")
        real_link(source, target)

    monkeypatch.setattr(Path, "replace", fail_at_c)
    monkeypatch.setattr(os, "link", link_but_c)
    with pytest.raises(AudioError, match=r"c\.wav: cannot be written \(Input/output error\)"):
        publish_three(tmp_path, replace)
    assert contents(tmp_path) == before


def test_files_have_the_rights_that_the_umask_leaves_and_it_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")  # it belongs to all threads
            assert temporary_beside(tmp_path / "song.wav").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_of_many_that_write_one_name_at_once_one_has_it(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def attempt(number: int) -> bool:
        with AudioWriter(tmp_path / "a.wav", RATE, 1, AudioFormat()) as writer:
            writer.write(sound(0.01 * (number + 1), 1))
            start.wait()
            try:
                publish([writer])
            except AudioError:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number, won in enumerate(pool.map(attempt, range(8))) if won]
    assert len(winners) == 1
    assert soundfile.info(tmp_path / "a.wav").frames == len(sound(0.01 * (winners[0] + 1), 1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("name, subtype", [("wav", "16"), ("wav", "float"), ("flac", "24"), ("mp3", None), ("ogg", None)])
def test_the_same_sound_makes_the_same_bytes_also_later(tmp_path: Path, name: str, subtype: str | None) -> None:
    first = write(tmp_path / "a", sound(1), AudioFormat(name, subtype), tags={"title": "T"}).read_bytes()
    time.sleep(1.1)  # the clock that gets into files counts seconds
    assert write(tmp_path / "b", sound(1), AudioFormat(name, subtype), tags={"title": "T"}).read_bytes() == first


def test_an_ogg_with_a_changed_serial_number_is_read_by_ffmpeg_too(tmp_path: Path) -> None:
    import av

    path = write(tmp_path / "a.ogg", sound(3), AudioFormat("ogg"))
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 3 * RATE


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg"])
def test_a_file_that_lost_its_end_before_it_got_its_name_is_noticed(tmp_path: Path, name: str) -> None:
    """As on a disk that fills up while libsndfile closes the file, which it does not report."""
    with AudioWriter(tmp_path / "a", RATE, 2, AudioFormat(name)) as writer:
        writer.write(sound(3))
        writer._file.close()
        os.truncate(writer.temporary, writer.temporary.stat().st_size - 3000)
        with pytest.raises(AudioError, match="is the disk full"):
            publish([writer])
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AudioError, match="cannot be written"):
        AudioWriter(tmp_path / "file" / "a.wav", RATE, 2, AudioFormat())


@pytest.mark.parametrize(
    "name, subtype, message", [("aac", None, "no output format"), ("flac", "float", "choose from 16, 24"), ("mp3", "16", "it has none")]
)
def test_formats_that_do_not_exist_are_refused(name: str, subtype: str | None, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        AudioFormat(name, subtype)


def test_mp3_refuses_rates_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="mp3 cannot hold 96000 Hz"):
        AudioWriter(tmp_path / "a.mp3", 96000, 2, AudioFormat("mp3"))


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_size, (tmp_path / "a.wav").exists())))
    path = write(tmp_path / "a.wav", sound(0.1), AudioFormat())
    assert synced == [(path.stat().st_size, False)]


def test_rates_that_flac_cannot_write_into_its_header_are_refused_at_once() -> None:
    with pytest.raises(AudioError, match="flac cannot hold 88201 Hz"):
        AudioFormat("flac").check(88201)
    for rate in (44101, 65535, 88200, 192000):
        AudioFormat("flac").check(rate)
