"""Deadlines of connections: one timer per loop, however many connections there are.

A connection stands in the slot of the time at which it has to be looked at next. What it waits for
may move later as often as it likes: that costs nothing here, because whoever is looked at too early
is put into a later slot then. So a connection that is in use costs a look now and then, one that is
idle one look when its time is over, and the others nothing.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Protocol

    class Item(Protocol):
        #: the time of its slot, and what that was asked for; NEVER: it is in none. The wheel's to
        #: change.
        slot: float
        due: float

        def check_deadlines(self, now: float) -> float: ...


__all__ = ["NEVER", "Wheel"]

NEVER = float("inf")
#: Seconds between two slots: of times that are near, and of those that are not.
FINE, COARSE = 0.01, 0.25
NEAR = 2.0
#: How many are looked at in one turn of the loop; those behind them come in the next one.
AT_ONCE = 256


class Wheel:
    """When to look at which connection of one loop. Has no timer while it is empty."""

    __slots__ = ("_count", "_due", "_heap", "_loop", "_slots", "_timer", "_timer_at", "clock")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop has the wheel; a reference back would keep both for ever.
        self._loop = ref(loop)
        self._count = 0
        self._slots: dict[float, dict[Item, None]] = {}
        self._heap: list[float] = []
        #: taken out of their slots, to be looked at in this turn or the next
        self._due: list[Item] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        #: where the compiled loop keeps the time of its turn (an address); 0: ask the loop
        self.clock: int = getattr(loop, "_clock", 0)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Wheel:
        """The wheel of `loop`."""
        wheel: Wheel | None = getattr(loop, "_ember_wheel", None)
        if wheel is None:
            wheel = cls(loop)
            loop._ember_wheel = wheel  # type: ignore[attr-defined]
        return wheel

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that this is the wheel of."""
        loop = self._loop()
        assert loop is not None, "the loop is gone, and its connections are not"
        return loop

    def place(self, item: Item, when: float) -> None:
        """Look at `item` at the time `when`, never before it, and no more when it was to be."""
        grain = FINE if when - self.loop.time() < NEAR else COARSE
        slot = ceil(when / grain) * grain
        item.due = when
        if slot == item.slot:
            return
        if item.slot == NEVER:
            self._count += 1
        else:
            del self._slots[item.slot][item]
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = {}
            heappush(self._heap, slot)
        items[item] = None
        item.slot = slot
        if slot < self._timer_at:
            self._schedule()

    def remove(self, item: Item) -> None:
        """Look at `item` no more."""
        if item.slot != NEVER:
            # An empty slot stays until its time has come: the next connection may want it.
            del self._slots[item.slot][item]
            item.slot = item.due = NEVER
            self._count -= 1
            if not self._count:
                self._slots.clear()
                self._heap.clear()
                self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = NEVER
        if self._heap:
            # In this order: without memory for it, the next `place` tries again.
            self._timer = self.loop.call_at(self._heap[0], self._run)
            self._timer_at = self._heap[0]

    def _run(self) -> None:
        now = self.loop.time()
        self._timer = None
        while self._heap and self._heap[0] <= now:
            items = self._slots.pop(heappop(self._heap))
            for item in items:
                item.slot = item.due = NEVER
            self._count -= len(items)
            self._due += items
        self._schedule()
        if self._due:
            self._look()

    def _look(self) -> None:
        due = self._due
        now = self.loop.time()
        for _ in range(min(len(due), AT_ONCE)):
            item = due.pop()
            if item.slot != NEVER:
                continue  # it was given another time since
            try:
                when = item.check_deadlines(now)
            except Exception as error:  # noqa: BLE001 - the others have their deadlines all the same
                self.loop.call_exception_handler(
                    {"message": "a deadline could not be kept", "exception": error}
                )
                continue
            if when != NEVER and item.slot == NEVER:
                self.place(item, when)
        if due:
            self.loop.call_soon(self._look)
