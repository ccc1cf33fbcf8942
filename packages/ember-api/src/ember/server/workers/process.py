"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import socket

from ember.server.processes.child import Child
from ember.server.workers.scoreboard import Slot


class WorkerProcess(Child):
    """A child with a slot on the scoreboard: which code it runs, and how long its loop did not
    run."""

    def __init__(
        self, pid: int, control_socket: socket.socket, slot: Slot, generation: int, *, born: float
    ) -> None:
        super().__init__(pid, control_socket, born=born)
        self.slot = slot
        #: The number of the reload that it belongs to.
        self.generation = generation
        #: It was told to end, because another worker replaces it.
        self.retiring = False
        #: Why it has to be replaced.
        self.recycle_reason = ""
        #: Seconds without a heartbeat.
        self.silence = 0.0
        self._beat = 0

    def __str__(self) -> str:
        return f"worker {self.slot.index} (pid {self.pid})"

    def note_beat(self, seconds: float) -> None:
        """Update `silence`: `seconds` have passed since the last call."""
        beat = self.slot.heartbeat
        if beat != self._beat:
            self._beat = beat
            self.silence = 0.0
        else:
            self.silence += seconds
