"""How many workers there are where nobody says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ember.server.workers import counts
from ember.server.workers.counts import cpu_quota, default_workers


def group(root: Path, path: str, **files: str) -> None:
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def process(root: Path, *lines: str) -> str:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(line + "\n" for line in lines))
    return str(root)


def test_version_2_takes_the_tightest_group_on_the_way_up(tmp_path: Path) -> None:
    root = process(tmp_path, "0::/a/b")
    assert cpu_quota(root) is None
    group(tmp_path, "a/b", cpu__max="max 100000")
    assert cpu_quota(root) is None
    group(tmp_path, "a", cpu__max="250000 100000")
    assert cpu_quota(root) == 2.5
    group(tmp_path, "", cpu__max="150000 100000")
    assert cpu_quota(root) == 1.5


def test_version_1(tmp_path: Path) -> None:
    root = process(tmp_path, "3:cpuset:/x", "2:cpu,cpuacct:/x", "0::/")
    group(tmp_path, "cpu,cpuacct/x", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cpu_quota(root) is None
    group(tmp_path, "cpu,cpuacct/x", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    assert cpu_quota(root) == 3.0


def test_a_container_that_sees_only_its_own_mount(tmp_path: Path) -> None:
    root = process(tmp_path, "2:cpu:/docker/0123")
    group(tmp_path, "cpu", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert cpu_quota(root) == 0.5


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("quota", "workers"), [("50000", 1), ("140000", 1), ("150000", 2), ("310000", 3), ("max", 8)]
)
def test_the_quota_is_rounded_and_never_more_than_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, workers: int
) -> None:
    monkeypatch.setattr(counts, "_cpus", lambda: (8, "8 CPUs"))
    root = process(tmp_path, "0::/")
    group(tmp_path, "", cpu__max=f"{quota} 100000")
    found = default_workers(root)
    assert found.workers == workers
    assert found.reason == ("8 CPUs" if workers == 8 else f"a CPU quota of {int(quota) / 1e5:g}")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform has no affinity")
def test_cpus_that_this_process_may_not_use_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert default_workers().workers == 1
    finally:
        os.sched_setaffinity(0, before)
