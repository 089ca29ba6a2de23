"""How many processors a container or service may use.

torch counts the machine's; with a thread on each of them a container of two processors' time is at a standstill for most of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OURS = Path("/proc/self/cgroup")


def processors(cgroups: Path = CGROUPS, ours: Path = OURS) -> float | None:
    """What the control groups of this process leave it (cgroup v2 or v1, as by `docker run --cpus` or systemd's CPUQuota); None: all."""
    shares = [share for folder in _folders(cgroups, ours) if (share := _share(folder)) is not None]
    return min(shares, default=None)


def heed() -> None:
    """Let torch use no more threads than these, a part of one not counted, unless OMP_NUM_THREADS says how many."""
    import torch

    most = processors()
    if most is not None and most < torch.get_num_threads() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, int(most)))


def _folders(cgroups: Path, ours: Path) -> Iterator[Path]:
    """Of this process's groups those that limit processors, and the groups around them; a container may see only its own, as the root."""
    try:
        lines = ours.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in {controllers, "cpu"} if controllers else {""}:  # v1: both controllers' folder may name them in another order
            inside = cgroups / mount / group.lstrip("/")
            yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(cgroups / mount))


def _share(folder: Path) -> float | None:
    """Processors of one group."""
    try:
        if (v2 := folder / "cpu.max").exists():
            quota, period = v2.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None
