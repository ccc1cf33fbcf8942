"""The operating system for the supervisor of workers."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

from ember.server.processes.launch import fork
from ember.server.processes.system import System
from ember.server.workers.context import WorkerContext
from ember.server.workers.process import WorkerProcess
from ember.server.workers.scoreboard import Slot

Begin = Callable[[WorkerContext], int]

#: The signals by which another process kills a worker.
KILLED = (signal.SIGKILL, signal.SIGTERM)


class WorkerSystem(System):
    """The real operating system, which forks workers."""

    def fork(
        self,
        context: Callable[[socket.socket], WorkerContext],
        begin: Begin,
        slot: Slot,
        generation: int,
    ) -> WorkerProcess:
        """Start a worker that runs `begin(context(control_socket))`. Raises OSError."""
        pid, control_socket = fork(lambda theirs: begin(context(theirs)), *self.held())
        return self.watch(WorkerProcess(pid, control_socket, slot, generation, born=self.now()))
