"""The process of `ember dev` that serves the application, as its supervisor sees it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence

from ember.server.processes.child import Child
from ember.server.processes.launch import launch
from ember.server.processes.system import System

#: Seconds after which an import, or start hooks, are said to be slow; said again after twice as
#: long.
SLOW = 3.0
#: Seconds to wait for the rest of what a process has written when it has ended. Processes that it
#: has started may hold the pipe longer.
REST = 3.0
#: The most characters of its stderr that the error page shows.
KEPT = 16_384


class DevProcess(Child):
    """A child that waits until it has to serve. Its stderr is copied to that of this process."""

    def __init__(
        self, process: subprocess.Popen[str], control_socket: socket.socket, *, born: float
    ) -> None:
        super().__init__(process.pid, control_socket, born=born, waits=True)
        self.slow_after = SLOW
        #: The application is imported, its start hooks run.
        self.imported = False
        #: The stack with which it was killed.
        self.last_stack: Sequence[str] = ()
        self._process = process
        self._tail = ""
        self._reader: threading.Thread | None = None

    def __str__(self) -> str:
        return "the application"

    def copy_stderr(self) -> None:
        """Copy its stderr from now on, and keep the last part."""
        self._reader = threading.Thread(target=self._copy, daemon=True)
        self._reader.start()

    def _copy(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            self._tail = (self._tail + line)[-KEPT:]

    def last_words(self) -> str:
        """The last part of its stderr, when it has ended."""
        if self._reader is not None:
            self._reader.join(REST)
        return self._tail.strip()

    def release(self, status: int) -> None:
        """It was reaped: `status` is that of waitpid."""
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._reader is None and self._process.stderr is not None:
            self._process.stderr.close()


class DevSystem(System):
    """The real operating system, which starts processes that wait."""

    def __init__(self) -> None:
        super().__init__(handled=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def launch(
        self, arguments: Sequence[str], fds: Iterable[int], environment: Mapping[str, str]
    ) -> DevProcess:
        """Start a process with these arguments, which inherits `fds`. Raises OSError."""

        def command(control: int) -> list[str]:
            return [sys.executable, "-m", "ember.cli.dev.child", str(control), *arguments]

        process, control_socket = launch(
            command, fds, stderr=subprocess.PIPE, errors="replace", env=environment
        )
        return self.watch(DevProcess(process, control_socket, born=self.now()))
