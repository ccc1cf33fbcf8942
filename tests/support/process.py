"""A server in a process of its own, for what only that shows: memory, signals, exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

#: Run before the program's own text: `app` is what the text defines, `PORT` is printed when ready.
_MAIN = """
import asyncio
from ember.eventloop import new_event_loop
from ember.protocol import serve

async def _main():
    server = await serve(app, port=0, backlog=4096)
    print(server.addresses[0][1], flush=True)
    await server.wait_closed()

asyncio.set_event_loop(loop := new_event_loop())
loop.run_until_complete(_main())
"""


class Process:
    """A running server: `port`, `pid`, `rss()` in bytes, `descriptors()`, `stop()`."""

    def __init__(self, program: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", program + _MAIN],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line.strip().isdigit(), f"the server did not start: {line!r}"
        self.port = int(line)
        self.pid = self._popen.pid
        self._process = psutil.Process(self.pid)

    def rss(self) -> int:
        """Resident memory, bytes."""
        return int(self._process.memory_info().rss)

    def descriptors(self) -> int:
        """Open file descriptors."""
        return int(self._process.num_fds())

    def open_files(self) -> list[str]:
        """What the descriptors stand for, and the state of the connections among them."""
        folder = Path(f"/proc/{self.pid}/fd")
        files = [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()]
        return files + [str(c) for c in self._process.net_connections()]

    def stop(self) -> None:
        """End the process at once."""
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait(10)
        assert self._popen.stdout is not None
        self._popen.stdout.close()


@contextlib.contextmanager
def process(program: str) -> Iterator[Process]:
    """Serve the `app` that `program` (Python text) defines, in a process of its own."""
    running = Process(program)
    try:
        yield running
    finally:
        running.stop()
