"""What a supervisor gives each worker, and how the worker speaks to it."""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import os
import signal
import socket

from ember.server.workers.board import Board, Slot

#: The variable by which a worker that is no fork finds its place.
VARIABLE = "EMBER_WORKER"


class Order(enum.Enum):
    """What a supervisor tells a worker, as a byte on the line."""

    #: finish what you have, and leave what comes to the others
    RETIRE = b"r"
    #: all end: finish what you have
    STOP = b"s"
    #: drop what you have
    ABORT = b"a"


class Place:
    """A slot on the board, the listening sockets, and the line to the supervisor.

    `since`: the worker is to run the program as it was then, nanoseconds of the epoch; 0: as it is.
    """

    def __init__(
        self,
        board: Board,
        slot: int,
        sockets: list[socket.socket],
        control: socket.socket,
        since: int = 0,
    ) -> None:
        self.board = board
        self.slot = slot
        self.sockets = sockets
        self.control = control
        self.since = since

    def say(self, word: str, text: str = "") -> None:
        """Tell the supervisor: `changed`, `ready`, `failed`, `recycle` or `stop`, and a line of
        text."""
        line = f"@{word} {' '.join(text.split())}\n".encode()
        with contextlib.suppress(OSError):  # the supervisor is gone: soon its end is noticed
            self.control.sendall(line)

    def orders(self) -> bytes | None:
        """What the supervisor has said since: letters of `Order`; None for nothing, empty once it
        is gone."""
        try:
            return self.control.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def to_environment(self) -> str:
        """For VARIABLE, and makes its descriptors survive exec; the caller is the child."""
        sockets = [sock.fileno() for sock in self.sockets]
        board, control = self.board.fd, self.control.fileno()
        assert board is not None
        for fd in (board, control, *sockets):
            os.set_inheritable(fd, True)
        numbers = (os.getpid(), self.board.workers, self.slot, self.since, board, control, *sockets)
        return " ".join(map(str, numbers))

    @staticmethod
    def watch_import() -> None:
        """Let the supervisor ask for the stack of this process while the program is imported, when
        it was started for a place; nothing otherwise."""
        numbers = [int(n) for n in os.environ.get(VARIABLE, "").split()]
        if numbers and numbers[0] == os.getpid():
            faulthandler.register(signal.SIGUSR2, numbers[5], all_threads=True)

    @classmethod
    def from_environment(cls) -> Place | None:
        """The place that this process was started for, once; None when it was not."""
        numbers = [int(n) for n in os.environ.get(VARIABLE, "").split()]
        # A program that is started by a worker inherits the variable, but is not meant.
        if not numbers or numbers[0] != os.getpid():
            return None
        del os.environ[VARIABLE]
        _, workers, slot, since, board, control, *fds = numbers
        for fd in numbers[4:]:
            os.set_inheritable(fd, False)
        sockets = [socket.socket(fileno=fd) for fd in fds]
        line = socket.socket(fileno=control)
        return cls(Board(workers, fd=board), slot, sockets, line, since)


class Balance:
    """Whether a worker has more than its share of the connections (ember.protocol.sharing)."""

    def __init__(self, board: Board, slot: Slot) -> None:
        self._board = board
        self._slot = slot

    def changed(self, connections: int) -> None:
        """Tell the others."""
        self._slot.connections = connections

    def enough(self) -> bool:
        """More than the mean of those who serve, by more than one connection and 3 %."""
        counts = self._board.ready_connections()
        if len(counts) < 2:
            return False
        mean = sum(counts) / len(counts)
        return self._slot.connections > mean + max(1.0, mean / 32)
