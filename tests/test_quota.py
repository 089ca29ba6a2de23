from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from separate import quota
from separate.cli import app


def v1(folder: str, quota: int) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


TREES = {
    "v2, a container": ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
    "v2, no quota": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "v2, a service in a slice with less": (
        "0::/system.slice/song.service\n",
        {"system.slice/song.service/cpu.max": "400000 100000\n", "system.slice/cpu.max": "200000 100000\n"},
        2.0,
    ),
    "v1": ("4:memory:/a\n2:cpu,cpuacct:/a\n", v1("cpu,cpuacct/a", 50000), 0.5),
    "v1, a container that sees only its own": ("2:cpu:/docker/abc\n", v1("cpu", 300000), 3.0),
    "v1, where the folder names them in another order": ("8:cpuacct,cpu:/\n", v1("cpu", 200000), 2.0),
    "v1, no quota": ("2:cpu:/\n", v1("cpu", -1), None),
    "another controller's": ("3:cpuset:/\n", {"cpuset/cpu.max": "100000 100000\n"}, None),
    "nothing there": ("0::/gone\n", {}, None),
}


@pytest.mark.parametrize("name", TREES)
def test_the_quota_is_that_of_the_groups_around_the_process(tmp_path: Path, name: str) -> None:
    ours, files, expected = TREES[name]
    (tmp_path / "ours").write_text(ours)
    for file, text in files.items():
        (tmp_path / "groups" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / file).write_text(text)
    assert quota.processors(tmp_path / "groups", tmp_path / "ours") == expected


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota.processors(tmp_path, tmp_path / "cgroup") is None


@pytest.mark.parametrize(("share", "set_to"), [(None, []), (0.3, [1]), (1.5, [1]), (7.5, [7]), (8.0, []), (64.0, [])])
def test_the_command_uses_no_more_threads_than_the_quota_has_processors(
    monkeypatch: pytest.MonkeyPatch, song: Path, model: Path, share: float | None, set_to: list[int]
) -> None:
    chosen: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(quota, "processors", lambda: share)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    done = CliRunner().invoke(app, [str(song), "--model", str(model), "-o", str(song.parent / "out"), "-q"])
    assert (done.exit_code, chosen) == (0, set_to)


def test_who_says_how_many_threads_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(quota, "processors", lambda: 1.0)
    monkeypatch.setattr(torch, "set_num_threads", pytest.fail)
    quota.heed()
