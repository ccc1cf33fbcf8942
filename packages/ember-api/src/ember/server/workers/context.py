"""What a supervisor gives to each worker, and how the two communicate."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket

from ember.server.processes.orders import read_orders, report
from ember.server.workers.scoreboard import Scoreboard, Slot

#: The environment variable with the context of a worker that was started by exec.
VARIABLE = "EMBER_WORKER"


class WorkerContext:
    """A slot on the scoreboard, the listening sockets, and the control socket to the supervisor.

    `since`: the worker has to report files of the program that changed after this time, in
    nanoseconds since the epoch; 0: it does not check.
    """

    def __init__(
        self,
        board: Scoreboard,
        slot: int,
        sockets: list[socket.socket],
        control_socket: socket.socket,
        since: int = 0,
    ) -> None:
        self.board = board
        self.slot = slot
        self.sockets = sockets
        self.control_socket = control_socket
        self.since = since

    def report(self, word: str, text: str = "") -> None:
        """Tell the supervisor `changed`, `ready`, `failed`, `recycle` or `stop`, with a line of
        text."""
        report(self.control_socket, word, text)

    def orders(self) -> bytes | None:
        """The new orders, as bytes of `Order`; None if there are none, empty if the supervisor has
        ended."""
        return read_orders(self.control_socket)

    def to_environment(self) -> str:
        """The value of VARIABLE. Makes the descriptors survive exec. Called in the child."""
        sockets = [sock.fileno() for sock in self.sockets]
        board, control = self.board.fd, self.control_socket.fileno()
        assert board is not None
        for fd in (board, control, *sockets):
            os.set_inheritable(fd, True)
        numbers = (os.getpid(), self.board.workers, self.slot, self.since, board, control, *sockets)
        return " ".join(map(str, numbers))

    @staticmethod
    def watch_import() -> None:
        """Let the supervisor ask for the stack of this process while the program is imported. Does
        nothing if this process is not a worker."""
        numbers = [int(n) for n in os.environ.get(VARIABLE, "").split()]
        if numbers and numbers[0] == os.getpid():
            faulthandler.register(signal.SIGUSR2, numbers[5], all_threads=True)

    @classmethod
    def from_environment(cls) -> WorkerContext | None:
        """The context of this worker, at the first call; None if this process is not a worker."""
        numbers = [int(n) for n in os.environ.get(VARIABLE, "").split()]
        # A program that a worker starts inherits the variable, but is not a worker itself.
        if not numbers or numbers[0] != os.getpid():
            return None
        del os.environ[VARIABLE]
        _, workers, slot, since, board, control, *fds = numbers
        for fd in numbers[4:]:
            os.set_inheritable(fd, False)
        sockets = [socket.socket(fileno=fd) for fd in fds]
        control_socket = socket.socket(fileno=control)
        return cls(Scoreboard(workers, fd=board), slot, sockets, control_socket, since)


class Balance:
    """Whether a worker has more than its share of the connections: a `Share` of the protocol."""

    def __init__(self, board: Scoreboard, slot: Slot) -> None:
        self._board = board
        self._slot = slot

    def changed(self, connections: int) -> None:
        """Publish the number of connections."""
        self._slot.connections = connections

    def over_share(self) -> bool:
        """Whether it has more than the mean of all ready workers, by one connection and by 3 %."""
        counts = self._board.ready_connections()
        if len(counts) < 2:
            return False
        mean = sum(counts) / len(counts)
        return self._slot.connections > mean + max(1.0, mean / 32)
