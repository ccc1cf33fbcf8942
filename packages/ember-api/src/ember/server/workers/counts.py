"""How many workers this machine, or the part of it that is ours, keeps busy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Count(NamedTuple):
    """A number of workers and, for people, why."""

    workers: int
    reason: str


def default_workers(root: str = "/") -> Count:
    """As many workers as CPUs, at least one.

    The CPUs of the machine that this process may run on (affinity); less where the CPU quota of its
    control group, or of one above it, allows less: the quota rounded to the nearest, because more
    workers than that are throttled all at once. `root` is where `proc` and `sys` are.
    """
    cpus, reason = _cpus()
    quota = cpu_quota(root)
    if quota is not None and quota < cpus:
        return Count(max(1, int(quota + 0.5)), f"a CPU quota of {quota:g}")
    return Count(cpus, reason)


def _cpus() -> tuple[int, str]:
    total = os.cpu_count() or 1
    if not hasattr(os, "sched_getaffinity"):
        return total, f"{total} CPUs"
    allowed = len(os.sched_getaffinity(0))
    if allowed < total:
        return allowed, f"CPU affinity: {allowed} of {total}"
    return total, f"{total} CPUs"


def cpu_quota(root: str = "/") -> float | None:
    """CPUs that the control groups (version 1 or 2) allow this process; None: no limit."""
    at = Path(root)
    try:
        lines = (at / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None  # not Linux
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += _walk([at / "sys/fs/cgroup", at / "sys/fs/cgroup/unified"], path, _version_2)
        elif "cpu" in controllers.split(","):
            mounts = [at / "sys/fs/cgroup" / name for name in {"cpu", controllers, "cpu,cpuacct"}]
            quotas += _walk(mounts, path, _version_1)
    return min(quotas, default=None)


def _walk(mounts: list[Path], path: str, read: object) -> list[float]:
    """What `read` finds in the group and in each above it, up to the mount.

    In a container the path may be the host's, of which only the mount itself is seen here.
    """
    found = []
    for mount in mounts:
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            quota = read(folder)  # type: ignore[operator]
            if quota is not None:
                found.append(quota)
            if folder == mount:
                break
    return found


def _version_2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _version_1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
