"""The scoreboard: shared memory with the state and the metrics of every worker.

It is made before the workers are forked. There are no locks: a worker that is killed while it
writes leaves nothing locked. Every field is eight aligned bytes, which are stored at once. It has
one writer: the worker of its slot, or the supervisor while the slot has no worker. So a reader
never sees half of a value.
"""

from __future__ import annotations

import enum
import mmap
import os
import time
from collections.abc import Iterator

#: Bytes of the metrics region of a worker.
METRICS_REGION_SIZE = 65536

#: One slot: two cache lines of 64-bit fields, so that no two workers write to the same line.
_FIELDS = 16
_PID, _GENERATION, _STATE, _STARTED, _HEARTBEAT, _CONNECTIONS, _REQUESTS = range(7)


class State(enum.IntEnum):
    """The state of a worker; `GONE`: the slot has no worker."""

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
        #: Its number on the scoreboard, from 0.
        self.index = index

    @property
    def pid(self) -> int:
        """The process id of the worker; without a worker, that of the last one; at first 0."""
        return self._words[self._base + _PID]

    @pid.setter
    def pid(self, value: int) -> None:
        self._words[self._base + _PID] = value

    @property
    def generation(self) -> int:
        """How many workers this slot has had, including the current one."""
        return self._words[self._base + _GENERATION]

    @generation.setter
    def generation(self, value: int) -> None:
        self._words[self._base + _GENERATION] = value

    @property
    def state(self) -> State:
        """The state of the worker."""
        return State(self._words[self._base + _STATE])

    @state.setter
    def state(self, value: State) -> None:
        self._words[self._base + _STATE] = value

    @property
    def started(self) -> int:
        """The time at which the worker was started."""
        return self._words[self._base + _STARTED]

    @started.setter
    def started(self, value: int) -> None:
        self._words[self._base + _STARTED] = value

    @property
    def heartbeat(self) -> int:
        """The time at which its event loop last ran the heartbeat, which it does once a second."""
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
        """Requests of all workers that this slot has had, at the last heartbeat."""
        return self._words[self._base + _REQUESTS]

    @requests.setter
    def requests(self, value: int) -> None:
        self._words[self._base + _REQUESTS] = value

    def begin(self, pid: int) -> None:
        """A new worker takes the slot: next generation, `STARTING`, no connections. `requests` and
        the metrics region continue from the worker before."""
        now = time.monotonic_ns()
        self.connections = 0
        self.generation += 1
        self.pid = pid
        self.started = now
        self.heartbeat = now
        self.state = State.STARTING

    def end(self) -> None:
        """The worker has ended. Its counts stay."""
        self.connections = 0
        self.state = State.GONE

    def __repr__(self) -> str:
        return (
            f"Slot({self.index}, pid={self.pid}, generation={self.generation}, "
            f"state={self.state.name}, connections={self.connections}, requests={self.requests})"
        )


class Scoreboard:
    """The slots of `workers` workers, and 64 KiB for the metrics of each.

    With several workers there are twice as many slots: during a reload the old workers finish while
    the new ones serve. With one worker there is one slot. Sums over *all* slots never decrease: the
    counts of a worker stay in its slot, and the next worker continues from them.

    Raises ValueError for less than one worker.
    """

    def __init__(self, workers: int, *, fd: int | None = None) -> None:
        if workers < 1:
            raise ValueError(f"Scoreboard(workers={workers}): expected 1 or more")
        #: How many workers serve at the same time.
        self.workers = workers
        count = 1 if workers == 1 else 2 * workers
        page = mmap.PAGESIZE
        self._regions = -(-count * _FIELDS * 8 // page) * page
        size = self._regions + count * METRICS_REGION_SIZE
        #: The file descriptor of the memory, which survives exec; None where there is none.
        self.fd = fd
        if fd is None and workers > 1 and hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("ember-scoreboard", os.MFD_CLOEXEC)
            os.ftruncate(self.fd, size)
        # MAP_SHARED: a forked worker writes to the same pages. Unused pages take no memory.
        self._memory = memoryview(mmap.mmap(-1 if self.fd is None else self.fd, size))
        words = self._memory[: self._regions].cast("Q")
        used = words[: count * _FIELDS]
        self._states = used[_STATE::_FIELDS]
        self._connections = used[_CONNECTIONS::_FIELDS]
        #: All slots, also those without a worker.
        self.slots = tuple(Slot(words, index) for index in range(count))

    def metrics_region(self, slot: int) -> memoryview:
        """The 64 KiB for metrics of slot number `slot`: zeros at first. Raises IndexError."""
        if not 0 <= slot < len(self.slots):
            raise IndexError(f"slot {slot}: this scoreboard has {len(self.slots)}")
        start = self._regions + slot * METRICS_REGION_SIZE
        return self._memory[start : start + METRICS_REGION_SIZE]

    def live(self) -> Iterator[Slot]:
        """The slots that have a worker."""
        return (slot for slot in self.slots if slot.state is not State.GONE)

    def ready_connections(self) -> list[int]:
        """The connections of each worker that is ready. Called for every new connection."""
        pairs = zip(self._states.tolist(), self._connections.tolist(), strict=True)
        return [connections for state, connections in pairs if state == _READY]

    @property
    def connections(self) -> int:
        """Connections open now, of all workers."""
        return sum(self._connections.tolist())

    @property
    def requests(self) -> int:
        """Requests since the start, of all workers, also of those that have ended."""
        return sum(slot.requests for slot in self.slots)
