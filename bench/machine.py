"""What the figures were taken on, and which core does what."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from bench.paths import ROOT

_CPUS = sorted(os.sched_getaffinity(0))
#: The server has a core for itself, the generator another.
SERVER_CPU = _CPUS[0]
LOAD_CPU = _CPUS[1] if len(_CPUS) > 1 else _CPUS[0]
SHARED_CORE = len(_CPUS) < 2


def _first_line(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """The commit that was measured, with a mark when the tree had changes."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return ""
    git = ["git", "-C", str(ROOT)]
    head = _first_line(*git, "rev-parse", "--short", "HEAD")
    dirty = _first_line(*git, "status", "--porcelain", "--untracked-files=no")
    return head + ("+changes" if dirty else "")


def describe() -> dict[str, str]:
    """Versions, kernel, CPU and date: what has to stand beside every figure."""
    described = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": f"{_cpu_model()}, {len(_CPUS)} cores used of {os.cpu_count()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "compiler": _first_line("cc", "--version"),
    }
    for package in ("emberloop", "ember-api", "cython", "msgspec"):
        described[package] = _version(package)
    return {key: value for key, value in described.items() if value}


class Others:
    """What other processes of the machine used while this run went on."""

    def __init__(self) -> None:
        self._busy, self._all = self._machine()
        self._own = self._run()

    @staticmethod
    def _machine() -> tuple[float, float]:
        # user nice system idle iowait irq softirq steal: the first line of proc_stat(5), in ticks
        line = Path("/proc/stat").read_text().partition("\n")[0]
        fields = [int(x) / os.sysconf("SC_CLK_TCK") for x in line.split()[1:9]]
        return sum(fields) - fields[3] - fields[4], sum(fields)

    @staticmethod
    def _run() -> float:
        sums = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(used.ru_utime + used.ru_stime for used in sums)

    def share(self) -> float:
        """Their share of the machine's CPU time since this object was made, 0 to 1."""
        busy, all_ = self._machine()
        own = self._run() - self._own
        return max(0.0, busy - self._busy - own) / max(all_ - self._all, 0.01)


def open_files() -> int:
    """How many files a process may have open, after asking for as many as are allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def pin_command(cpu: int, command: list[str]) -> list[str]:
    """`command`, pinned to one core from its first instruction on."""
    code = (
        "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])});"
        "os.execvp(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-ISc", code, str(cpu), *command]
