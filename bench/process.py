"""Servers as child processes: started pinned on a free port, measured with all their children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import machine
from bench.paths import ROOT, WORK, relative


class ServerFailed(Exception):
    """A server that did not start, or answered wrongly; the text says what a reader needs."""


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def descendants(pid: int) -> list[int]:
    """`pid` and every process below it."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:  # gone between the listing and the look
                continue
            # The name in parentheses may hold anything; the parent is the second field after.
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads (its ring's too), in seconds to the nanosecond.

    This is the process's own CPU clock (clock_getcpuclockid(3)); utime and stime are the same sum,
    split in ticks.
    """
    return time.clock_gettime((~pid) << 3 | 2)


class Server:
    """A running server."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.port = port
        self.log = log
        self._command = command
        self._env = env
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as out:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(self._env),
                cwd=ROOT,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 30) -> None:
        """Wait until it accepts connections; stop it and raise ServerFailed when it does not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                status = self.process.returncode
                raise ServerFailed(f"ended at start (status {status}): {self.last_words()}")
            with socket.socket() as s:
                s.settimeout(1)
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise ServerFailed(f"did not listen within {timeout:.0f} s: {self.last_words()}")

    def restart(self) -> None:
        """Start it afresh on the same port, after it failed."""
        self.stop()
        self.process = self._spawn()
        self.wait_ready()

    def pids(self) -> list[int]:
        """All processes of the server."""
        return descendants(self.process.pid)

    def cpu(self) -> float:
        """CPU time of all processes, in seconds."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def rss(self) -> float:
        """Resident memory of all processes, in MiB."""
        total = 0.0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) / 1024
        return total

    def last_words(self) -> str:
        """The end of its log on one line."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return relative(lines[-1])[:200] if lines else "it said nothing"

    def stop(self) -> None:
        """Ask it to end, and end its whole session when it does not."""
        for sig, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sig)
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        with contextlib.suppress(ProcessLookupError):  # children that outlived the first
            os.killpg(self.process.pid, signal.SIGKILL)


def start(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    env: Mapping[str, str] | None = None,
    cpu: int | None = machine.SERVER_CPU,
    timeout: float = 30,
) -> Server:
    """Start a server and wait until it accepts connections on `port`.

    Raises ServerFailed with its last words when it ends, or does not listen in `timeout` seconds.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    log = WORK / f"{name.replace('/', '-').replace(' ', '-')}.log"
    # Without PYTHONDONTWRITEBYTECODE: compiling its modules at start costs a server a megabyte.
    dropped = ("EMBER_", "UVICORN_", "PYTHONDONTWRITEBYTECODE")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    clean |= {"PYTHONPATH": str(ROOT), **(env or {})}
    pinned = list(command) if cpu is None else machine.pin_command(cpu, list(command))
    server = Server(name, pinned, port, clean, log)
    server.wait_ready(timeout)
    return server
