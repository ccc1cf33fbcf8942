"""The board: one piece of memory, made before the fork, in which every worker says how it is.

There are no locks, so that a worker that is killed in mid-write leaves nothing locked. Every field
is eight aligned bytes, stored at once, and has one writer: the worker of its slot, or the
supervisor while the slot has none. A reader sees the value before or after, never a half.
"""

from __future__ import annotations

import enum
import mmap
import os
import time
from collections.abc import Iterator

#: Bytes of a worker's area.
AREA_SIZE = 65536

#: One slot: two cache lines of 64-bit fields, so that no two workers write to the same line.
_FIELDS = 16
_PID, _GENERATION, _STATE, _STARTED, _HEARTBEAT, _CONNECTIONS, _REQUESTS = range(7)


class State(enum.IntEnum):
    """Where a worker is in its life; `GONE`: the slot has no worker."""

    GONE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


_READY = int(State.READY)


class Slot:
    """The fields of one worker. Times are nanoseconds of the monotonic clock."""

    __slots__ = ("_base", "_words", "index")

    def __init__(self, words: memoryview, index: int) -> None:
        self._words = words
        self._base = index * _FIELDS
        #: Its place on the board, from 0.
        self.index = index

    @property
    def pid(self) -> int:
        """The worker's process id; of a slot that is gone, its last one's; 0 when never used."""
        return self._words[self._base + _PID]

    @pid.setter
    def pid(self, value: int) -> None:
        self._words[self._base + _PID] = value

    @property
    def generation(self) -> int:
        """How many workers this slot has had."""
        return self._words[self._base + _GENERATION]

    @generation.setter
    def generation(self, value: int) -> None:
        self._words[self._base + _GENERATION] = value

    @property
    def state(self) -> State:
        """Where the worker is in its life."""
        return State(self._words[self._base + _STATE])

    @state.setter
    def state(self, value: State) -> None:
        self._words[self._base + _STATE] = value

    @property
    def started(self) -> int:
        """When the worker was started."""
        return self._words[self._base + _STARTED]

    @started.setter
    def started(self, value: int) -> None:
        self._words[self._base + _STARTED] = value

    @property
    def heartbeat(self) -> int:
        """When its loop last said that it turns; once a second while it does."""
        return self._words[self._base + _HEARTBEAT]

    @heartbeat.setter
    def heartbeat(self, value: int) -> None:
        self._words[self._base + _HEARTBEAT] = value

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self._words[self._base + _CONNECTIONS]

    @connections.setter
    def connections(self, value: int) -> None:
        self._words[self._base + _CONNECTIONS] = value

    @property
    def requests(self) -> int:
        """Requests of all workers that this slot has had, as of the last heartbeat."""
        return self._words[self._base + _REQUESTS]

    @requests.setter
    def requests(self, value: int) -> None:
        self._words[self._base + _REQUESTS] = value

    def begin(self, pid: int) -> None:
        """A new worker takes the slot: next generation, `STARTING`, no connections; `requests` and
        the area go on from its predecessor's."""
        now = time.monotonic_ns()
        self.connections = 0
        self.generation += 1
        self.pid = pid
        self.started = now
        self.heartbeat = now
        self.state = State.STARTING

    def end(self) -> None:
        """The worker is no more; what it counted stays."""
        self.connections = 0
        self.state = State.GONE

    def __repr__(self) -> str:
        return (
            f"Slot({self.index}, pid={self.pid}, generation={self.generation}, "
            f"state={self.state.name}, connections={self.connections}, requests={self.requests})"
        )


class Board:
    """The slots of `workers` workers, and 64 KiB for the metrics of each.

    With several workers there are twice as many slots: while they are being replaced, the old ones
    finish beside the new ones. A board of one has one. Sums over *all* slots never go down: what a
    worker counted stays in its slot when it is gone, and its successor goes on from there.

    Raises ValueError for less than one worker.
    """

    def __init__(self, workers: int, *, fd: int | None = None) -> None:
        if workers < 1:
            raise ValueError(f"Board(workers={workers}): expected 1 or more")
        #: How many workers are meant to serve at once.
        self.workers = workers
        count = 1 if workers == 1 else 2 * workers
        page = mmap.PAGESIZE
        self._areas = -(-count * _FIELDS * 8 // page) * page
        size = self._areas + count * AREA_SIZE
        #: The descriptor of the memory, for a worker that is not a fork; None where there is none.
        self.fd = fd
        if fd is None and workers > 1 and hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("ember-board", os.MFD_CLOEXEC)
            os.ftruncate(self.fd, size)
        # MAP_SHARED: a fork writes into the same pages. Pages that nobody touches cost nothing.
        self._memory = memoryview(mmap.mmap(-1 if self.fd is None else self.fd, size))
        words = self._memory[: self._areas].cast("Q")
        used = words[: count * _FIELDS]
        self._states = used[_STATE::_FIELDS]
        self._connections = used[_CONNECTIONS::_FIELDS]
        #: Every slot, those without a worker too.
        self.slots = tuple(Slot(words, index) for index in range(count))

    def area(self, slot: int) -> memoryview:
        """The 64 KiB of slot number `slot`: zeros at first, kept when its worker is replaced."""
        if not 0 <= slot < len(self.slots):
            raise IndexError(f"slot {slot}: this board has {len(self.slots)}")
        start = self._areas + slot * AREA_SIZE
        return self._memory[start : start + AREA_SIZE]

    def live(self) -> Iterator[Slot]:
        """The slots that have a worker."""
        return (slot for slot in self.slots if slot.state is not State.GONE)

    def ready_connections(self) -> list[int]:
        """The connections of each worker that is ready; asked for every new connection."""
        pairs = zip(self._states.tolist(), self._connections.tolist(), strict=True)
        return [connections for state, connections in pairs if state == _READY]

    @property
    def connections(self) -> int:
        """Connections open now, of all workers."""
        return sum(self._connections.tolist())

    @property
    def requests(self) -> int:
        """Requests since the start, of all workers that there were."""
        return sum(slot.requests for slot in self.slots)
