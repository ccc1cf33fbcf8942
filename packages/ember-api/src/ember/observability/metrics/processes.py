"""Memory, CPU time and open files of a process, from /proc (Linux only)."""

from __future__ import annotations

import os
from typing import NamedTuple


class Process(NamedTuple):
    """The values of one process; None: not available here."""

    resident: int | None
    cpu_seconds: float | None
    open_fds: int | None


def look(pid: int) -> Process:
    """Bytes of resident memory, CPU time and open file descriptors of a process."""
    return Process(_resident(pid), _cpu(pid), _open_fds(pid))


def _resident(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _cpu(pid: int) -> float | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may contain any characters.
            fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _open_fds(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
