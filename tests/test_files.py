import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separate import AudioError, AudioFormat, Cancelled, Job, ModelError, Separator, pretrained
from separate.audio import AudioReader
from separate.files import find_tracks, separate_file
from tests.conftest import RATE, sound


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_have_length_rate_and_channels_of_the_file(separator: Separator, tmp_path: Path, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "song.flac", sound(1.2345, channels, rate), rate)
    result = separator.file(tmp_path / "song.flac", Job(tmp_path / "out"))
    assert [str(path.relative_to(tmp_path)) for path in result.files.values()] == [
        "out/tiny/song/vocals.wav",
        "out/tiny/song/accompaniment.wav",
    ]
    for path in result.files.values():
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels) == (len(sound(1.2345, channels, rate)), rate, channels)


def test_the_file_holds_what_the_tensor_call_gives(separator: Separator, song: Path, tmp_path: Path) -> None:
    import torch

    result = separator.file(song, Job(tmp_path / "out", ("vocals",), AudioFormat("wav", "float")))
    written, _ = soundfile.read(result.files["vocals"], dtype="float32")
    mixture, _ = soundfile.read(song, dtype="float32")
    expected = separator(torch.from_numpy(mixture.T), RATE, ["vocals"])["vocals"]
    np.testing.assert_allclose(written, expected.T.numpy(), atol=1e-5)


def test_one_gain_for_all_stems_if_one_would_clip(separator: Separator, tmp_path: Path) -> None:
    loud = 4 * sound(2)
    soundfile.write(tmp_path / "loud.wav", loud, RATE, subtype="FLOAT")
    result = separator.file(tmp_path / "loud.wav", Job(tmp_path / "out", form=AudioFormat("wav", "24")))
    plain = separator.file(tmp_path / "loud.wav", Job(tmp_path / "float", form=AudioFormat("wav", "float")))
    assert result.gain_db < -1 and plain.gain_db == 0
    total = sum(soundfile.read(path)[0] for path in result.files.values())
    np.testing.assert_allclose(total, loud * 10 ** (result.gain_db / 20), atol=1e-5)
    peak = max(np.abs(soundfile.read(path)[0]).max() for path in result.files.values())
    assert 0.999 < peak <= 1


def test_tags_go_along(separator: Separator, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "song.flac", "w", RATE, 2) as file:
        file.title = "Song"
        file.write(sound(0.5))
    result = separator.file(tmp_path / "song.flac", Job(tmp_path / "out", form=AudioFormat("mp3")))
    assert soundfile.SoundFile(result.files["vocals"]).title == "Song"


def test_what_exists_is_refused_skipped_or_replaced(separator: Separator, song: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "out", ("vocals",))
    target = separator.file(song, job).files["vocals"]
    first = target.read_bytes()
    target.write_bytes(b"mine")
    with pytest.raises(AudioError, match="exists already"):
        separator.file(song, job)
    assert separator.file(song, Job(tmp_path / "out", ("vocals",), existing="skip")).files == {}
    assert target.read_bytes() == b"mine"
    separator.file(song, Job(tmp_path / "out", ("vocals",), existing="overwrite"))
    assert target.read_bytes() == first


def test_a_failure_half_way_leaves_nothing(separator: Separator, tmp_path: Path) -> None:
    bad = sound(40)
    bad[-10] = np.inf
    soundfile.write(tmp_path / "bad.wav", bad, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        separator.file(tmp_path / "bad.wav", Job(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_cancelling_leaves_nothing(separator: Separator, song: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        assert total == 3 * RATE
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        separator.file(song, Job(tmp_path / "out"), stop)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("calls", [1, 2])  # while it separates, while it encodes
def test_a_hooks_error_is_no_error_of_the_song(separator: Separator, song: Path, tmp_path: Path, calls: int) -> None:
    heard: list[int] = []

    def report(done: int, total: int | None) -> None:
        heard.append(done)
        if heard.count(done) == calls:
            raise ConnectionResetError("nobody listens")

    with pytest.raises(ConnectionResetError, match="nobody listens"):
        separator.file(song, Job(tmp_path / "out"), report)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failure_leaves_folders_that_were_there(separator: Separator, song: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        raise Cancelled("enough")

    (tmp_path / "out" / "tiny" / "song").mkdir(parents=True)
    with pytest.raises(Cancelled):
        separator.file(song, Job(tmp_path / "out"), stop)
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["tiny", "song"]


@pytest.mark.parametrize(
    "template",
    [
        "{stem}/{nonsense}",
        "fixed.wav",
        "{stem",
        "{0}{stem}",
        "{stem!z}",
        "{stem:d}",
        "{stem:{ext}}",
        "{stem!r}",
        "{stem.x}",
        "{stem[0]}",
        "",
    ],
)
def test_templates_that_cannot_name_stems_are_refused(template: str) -> None:
    with pytest.raises(AudioError, match="template"):
        Job(template=template)


def test_a_way_to_treat_existing_files_that_is_none_is_refused() -> None:
    with pytest.raises(AudioError, match="choose from refuse, overwrite, skip"):
        Job(existing="replace")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("value", [1e37, 1e38, 3e38])
@pytest.mark.parametrize("form", [AudioFormat(), AudioFormat("wav", "float")])
def test_stems_that_are_not_finite_are_an_error_and_not_written(
    separator: Separator, tmp_path: Path, value: float, form: AudioFormat
) -> None:
    """Finite samples may overflow on their way through the network."""
    wave = np.where(np.arange(30000)[:, None] // 100 % 2, value, -value).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: the stems would not be numbers"):
        separator.file(tmp_path / "a.wav", Job(tmp_path / "out", form=form))
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "skip"])
def test_a_folder_in_a_stems_place_leaves_all_as_it_was(separator: Separator, song: Path, tmp_path: Path, existing: str) -> None:
    target = separator.file(song, Job(tmp_path / "out", ("vocals",))).files["vocals"]
    target.with_name("accompaniment.wav").mkdir()
    before = files_in(tmp_path / "out")
    if existing == "skip":
        assert separator.file(song, Job(tmp_path / "out", existing=existing)).files == {}
    else:
        with pytest.raises(AudioError, match=r"exists already|it is a folder"):
            separator.file(song, Job(tmp_path / "out", existing=existing))
    assert files_in(tmp_path / "out") == before


@pytest.mark.parametrize("existing", ["refuse", "skip"])
def test_a_file_that_appears_meanwhile_is_not_replaced(separator: Separator, song: Path, tmp_path: Path, existing: str) -> None:
    """Who skips what exists leaves that too, and keeps the rest: two processes may work on one folder."""
    target = tmp_path / "out" / "tiny" / "song" / "accompaniment.wav"

    def appear(done: int, total: int | None) -> None:
        target.write_bytes(b"precious")

    if existing == "skip":
        assert list(separator.file(song, Job(tmp_path / "out", existing=existing), appear).files) == ["vocals"]
        assert set(files_in(tmp_path / "out")) == {"tiny/song/accompaniment.wav", "tiny/song/vocals.wav"}
    else:
        with pytest.raises(AudioError, match="exists already"):
            separator.file(song, Job(tmp_path / "out", existing=existing), appear)
        assert set(files_in(tmp_path / "out")) == {"tiny/song/accompaniment.wav"}
    assert target.read_bytes() == b"precious"


def test_encoding_can_be_cancelled_too(separator: Separator, song: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def stop(done: int, total: int | None) -> None:
        calls.append(done)
        if calls[-2:] == [total, total]:
            raise Cancelled

    with pytest.raises(Cancelled):
        separator.file(song, Job(tmp_path / "out"), stop)
    assert files_in(tmp_path / "out") == {} and calls[-1] == 3 * RATE


def test_skipping_writes_only_what_is_not_there(separator: Separator, song: Path, tmp_path: Path) -> None:
    target = separator.file(song, Job(tmp_path / "out", ("vocals",))).files["vocals"]
    target.write_bytes(b"precious")
    result = separator.file(song, Job(tmp_path / "out", existing="skip"))
    assert list(result.files) == ["accompaniment"]
    assert target.read_bytes() == b"precious"
    assert soundfile.info(result.files["accompaniment"]).frames == 3 * RATE


@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to])
def test_a_song_is_not_replaced_by_its_own_stem(separator: Separator, song: Path, tmp_path: Path, link: Callable | None) -> None:
    here = song.rename(tmp_path / "vocals.wav") if link is None else song
    if link is not None:
        link(tmp_path / "vocals.wav", song)
    before = here.read_bytes()
    with pytest.raises(AudioError, match="is the song itself"):
        separator.file(here, Job(tmp_path, template="{stem}.{ext}", existing="overwrite"))
    assert files_in(tmp_path) == {path.name: before for path in {here, tmp_path / "vocals.wav"}}


@pytest.mark.parametrize("track", ["a" * 300, "a\0b", "x" * 5000 + "/y"])
def test_a_name_that_can_be_none_is_an_error(separator: Separator, song: Path, tmp_path: Path, track: str) -> None:
    with pytest.raises(AudioError):
        separate_file(separator, song, Job(tmp_path / "out"), track)
    assert files_in(tmp_path / "out") == {}


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may read everything: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_an_error(song: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    hidden = song.rename(folder / "song.wav")
    for closed in (hidden, folder):
        closed.chmod(0)
        with without_rights():
            assert find_tracks([hidden], [tmp_path / "out"], print) == [(hidden, "song")]
            with pytest.raises(AudioError, match=r"song\.wav: Permission denied"):
                AudioReader(hidden)
            with pytest.raises(ModelError, match="no model"):
                pretrained.find(str(hidden))
        closed.chmod(0o700)


def test_folders_that_may_not_be_read_are_named_and_the_rest_is_found(song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # those above it may not be searched either
    locked, listed = Path("locked"), Path("listed")
    for folder, mode in ((locked, 0), (listed, 0o444)):
        folder.mkdir()
        shutil.copy(song, folder)
        folder.chmod(mode)
    complaints: dict[Path, str] = {}
    with without_rights():
        tracks = find_tracks([Path(), locked], [Path("out")], complaints.__setitem__)
    for folder in (locked, listed):
        folder.chmod(0o700)
    assert tracks == [(Path(song.name), song.stem)]
    assert complaints == {path: f"{path}: may not be read" for path in (locked, listed / song.name)}


def test_errors_of_the_system_are_audio_errors(separator: Separator, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(AudioError, match=r"song\.wav: cannot be separated .*Too many open files"):
        separator.file(song, Job(tmp_path / "out"))


@pytest.mark.parametrize("form", [AudioFormat("wav", "float"), AudioFormat("flac"), AudioFormat("ogg")])
def test_the_same_song_makes_the_same_bytes(separator: Separator, song: Path, tmp_path: Path, form: AudioFormat) -> None:
    for out in ("one", "two"):
        separator.file(song, Job(tmp_path / out, form=form))
        time.sleep(1.1 if out == "one" else 0)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")


def test_nothing_is_written_outside_the_output_folder(separator: Separator, song: Path, tmp_path: Path) -> None:
    for template in ("../{stem}.wav", "/tmp/{stem}.wav"):
        with pytest.raises(AudioError, match="out of the output"):
            separator.file(song, Job(tmp_path / "out", template=template))


def test_the_output_folder_may_be_a_string(separator: Separator, song: Path, tmp_path: Path) -> None:
    result = separator.file(str(song), Job(output=str(tmp_path / "out"), stems=("vocals",)))
    assert result.files["vocals"].is_file() and result.files["vocals"].is_relative_to(tmp_path / "out")


def test_what_a_format_cannot_hold_is_said_of_the_song(separator: Separator, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "high.wav", sound(0.1), 96000)
    with pytest.raises(AudioError, match=r"high\.wav: mp3 cannot hold 96000 Hz"):
        separator.file(tmp_path / "high.wav", Job(tmp_path / "out", form=AudioFormat("mp3")))
    assert not (tmp_path / "out").exists()
    with pytest.raises(AudioError, match=r"give AudioFormat\('flac'\) rather than 'flac'"):
        Job(form="flac")  # type: ignore[arg-type]


def test_a_file_in_the_output_folders_place_is_named(separator: Separator, song: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(AudioError, match="out: cannot be written, there is a file of this name and no folder"):
        separator.file(song, Job(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


def test_folders_are_searched_and_tracks_named_by_their_place(tmp_path: Path) -> None:
    for name in ("a/one.mp3", "a/two.txt", "a/b/three.FLAC", "a/.hidden/four.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden" / ".only").mkdir(parents=True)
    (tmp_path / "hidden" / ".only" / "a.wav").touch()
    inputs = [tmp_path / name for name in ("a", "x.wav", "empty", "hidden", "a" * 300)]
    complaints: dict[Path, str] = {}
    tracks = find_tracks(inputs, [tmp_path / "out"], complaints.__setitem__)
    assert [track for _, track in tracks] == [str(Path("b/three")), "one", "x", "a" * 300]
    assert complaints == {path: f"{path}: no audio files in this folder" for path in (tmp_path / "empty", tmp_path / "hidden")}


def test_a_song_that_is_named_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "one.wav").touch()
    (tmp_path / "album" / "two.wav").touch()
    monkeypatch.chdir(tmp_path)
    inputs = [Path("album/two.wav"), Path("album"), tmp_path / "album" / "one.wav", Path("album/one.wav")]
    assert find_tracks(inputs, [], print) == [(Path("album/two.wav"), "two"), (Path("album/one.wav"), "one")]


def test_titles_that_begin_with_several_dots_are_not_hidden(tmp_path: Path) -> None:
    for name in ("...And Justice for All/...One.mp3", "..Two.mp2", ".hidden.wav", "._three.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [track for _, track in find_tracks([tmp_path], [], print)] == [str(Path("...And Justice for All/...One")), "..Two"]


def test_links_to_folders_are_followed_and_no_folder_is_searched_twice(tmp_path: Path) -> None:
    for name in ("lib/b/one.wav", "elsewhere/two.wav", "out/three.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for link, target in (("a", "lib/b"), ("b/up", "lib"), ("c", "elsewhere"), ("d", "elsewhere"), ("e", "out"), ("f", "gone")):
        (tmp_path / "lib" / link).symlink_to(tmp_path / target)
    tracks = find_tracks([tmp_path / "lib"], [tmp_path / "out"], print)
    assert [track for _, track in tracks] == [str(Path("b/one")), str(Path("c/two"))]


@pytest.mark.parametrize("name", ["Ünïcödé 音.wav", "new\nline.wav", "-dash.wav", "a" * 200 + ".wav", "no extension", "{braces}.wav"])
def test_odd_names(separator: Separator, tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "plain.wav", sound(0.1), RATE)
    path = (tmp_path / "plain.wav").rename(tmp_path / name)
    result = separate_file(separator, path, Job(tmp_path / "out", ("vocals",)))
    assert result.files["vocals"].is_file()
