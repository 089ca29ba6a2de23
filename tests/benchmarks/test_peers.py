from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import peers
from benchmarks.processes import alone, pin_threads
from benchmarks.rivals import PEERS, Peer
from separate.scoring import global_sdr
from tests.conftest import RATE
from tests.songs import made_up_song


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def threads() -> int:
    return torch.get_num_threads()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pinned here is not left to other tests."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "2")


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    made_up_song(tmp_path / "songs" / "album" / "song", 2.0)
    return tmp_path / "songs"


def test_a_length_that_fails_keeps_the_cells_of_the_others(
    songs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stand_in(function: object, name: str, folder: Path, *length: int) -> tuple[object, float]:
        if function is peers.quality:
            return dict.fromkeys(peers.FIGURES, 1.0), 0.0
        if length == (600,) and name == "second":
            raise RuntimeError("speed died")
        return (length[0] / (20.0 if name == "first" else 5.0), 1000 if name == "first" else 3000), 500.0 if name == "first" else 750.0

    monkeypatch.setattr(peers, "alone", stand_in)
    monkeypatch.setattr(peers, "PEERS", {"first": PEERS["mixture"], "second": PEERS["mixture"]})
    peers.main([str(songs)])
    out = capsys.readouterr().out
    lines = {cells(line)[0]: cells(line)[1:] for line in out.splitlines() if line.startswith("|")}
    assert out.count("| first |") == out.count("| second |") == 2  # speed and quality
    speeds = {cells(line)[0]: cells(line)[3:] for line in out.splitlines() if line.startswith("|") and " | none | " in line}
    assert speeds["first"] == ["1,000", "1.00", "20.0", "1.00", "500", "1.00", "20.0", "1.00", "500", "1.00"]
    assert speeds["second"] == ["3,000", "3.00", "5.0", "4.00", "750", "1.50", "-", "-", "-", "-"]
    assert "second, 600 s: speed died" in out and len(lines["peer"]) == 12


def test_trivial_peers_are_measured_and_scored(songs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    absent = Peer(PEERS["mixture"].load, "none", 2, "nothing")  # not known to the process that looks it up
    monkeypatch.setattr(peers, "PEERS", {"mixture": PEERS["mixture"], "absent": absent})
    peers.main([str(songs), "--seconds", "1"])
    out = capsys.readouterr().out
    rows = [cells(line) for line in out.splitlines() if line.startswith("| mixture") or line.startswith("| ideal")]
    assert [row[0] for row in rows] == ["mixture", "mixture", "ideal ratio mask"]
    stems = {path.stem: soundfile.read(path, dtype="float32")[0] for path in songs.rglob("*.wav")}
    assert float(rows[1][3]) == pytest.approx(global_sdr(stems["vocals"], np.sum(list(stems.values()), axis=0)), abs=1e-3)
    assert all(float(ideal) > float(mixture) for ideal, mixture in zip(rows[2][1:], rows[1][1:], strict=True))
    assert "absent, 1 s: KeyError" in out


def test_only_the_beginning_of_the_first_song_is_read(songs: Path) -> None:
    made_up_song(songs / "album" / "song2", 2.0, seed=1)
    (songs / "album" / "song2" / "mixture.wav").write_bytes(b"not audio")
    beginning = peers.opening(songs, 1)
    stems = [soundfile.read(path, dtype="float32", frames=RATE)[0] for path in sorted((songs / "album" / "song").glob("*.wav"))]
    np.testing.assert_allclose(beginning.T.numpy(), np.sum(stems, axis=0), atol=1e-6)
    assert peers.opening(songs, 5).shape == (2, 5 * RATE)


def test_backing_that_is_there_whole_and_in_parts_counts_once(songs: Path) -> None:
    stems = {path.stem: soundfile.read(path)[0] for path in songs.rglob("*.wav")}
    before = peers.opening(songs, 1)
    whole = sum(wave for stem, wave in stems.items() if stem != "vocals")
    soundfile.write(songs / "album" / "song" / "accompaniment.wav", whole, RATE, subtype="FLOAT")
    np.testing.assert_allclose(peers.opening(songs, 1).numpy(), before.numpy(), atol=1e-6)


def test_children_compute_with_the_threads_they_were_given() -> None:
    pin_threads(1)
    assert alone(threads)[0] == 1
