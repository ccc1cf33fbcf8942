"""The default number of workers: from the CPUs, the affinity and the CPU quota of this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Count(NamedTuple):
    """A number of workers, and the reason for it, as text."""

    workers: int
    reason: str


def default_workers(root: str = "/") -> Count:
    """As many workers as CPUs, at least one.

    Only CPUs of the affinity mask count. A smaller CPU quota of the control group, or of a group
    above it, is rounded and used instead: more workers would all be throttled at the same time.
    `root` is the directory that has `proc` and `sys`.
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
    """The quotas that `read` finds in the group and in the groups above it, up to the mount.

    In a container the path may be that of the host; then only the mount itself exists here.
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
