"""The wheel of deadlines: its cost is that of what is due."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol import MemoryConnection
from ember.protocol.server.wheel import AT_ONCE, NEVER, Wheel
from ember.request import Request

from tests.support.app import App
from tests.support.server import new_event_loop

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
FAST = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"


class Clock:
    """A loop of which only the time and the timers are there, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.soon: list[Callable[[], None]] = []
        self.failures: list[dict[str, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        entry = (when, callback)
        self.timers.append(entry)

        class Handle:
            def cancel(handle) -> None:
                if entry in self.timers:
                    self.timers.remove(entry)

        return Handle()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def until(self, when: float) -> int:
        """Let the time pass; how often the loop was woken."""
        woken = 0
        while True:
            due = [t for t in self.timers if t[0] <= when]
            if not due and not self.soon:
                self.now = when
                return woken
            woken += 1
            if self.soon:
                self.soon.pop(0)()
                continue
            first = min(due, key=lambda t: t[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()


class Item:
    def __init__(self, *nexts: float) -> None:
        self.slot = self.due = NEVER
        self.looked: list[float] = []
        self.nexts = list(nexts)

    def check_deadlines(self, now: float) -> float:
        self.looked.append(now)
        return now + self.nexts.pop(0) if self.nexts else NEVER


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wheel(clock: Clock) -> Wheel:
    return Wheel(clock)  # type: ignore[arg-type]


pure = pytest.mark.once


@pure
@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.5, 1.99, 2.0, 30.0, 86400.0])
def test_nothing_is_looked_at_too_early_nor_much_too_late(
    wheel: Wheel, clock: Clock, seconds: float
) -> None:
    item = Item()
    wheel.place(item, 1000.0 + seconds)
    clock.until(200_000)
    (looked,) = item.looked
    assert 0 <= looked - (1000 + seconds) <= (0.011 if seconds < 2 else 0.251)


@pure
def test_ten_thousand_idle_ones_wake_the_loop_a_few_times_a_second(
    wheel: Wheel, clock: Clock
) -> None:
    items = [Item() for _ in range(10_000)]
    for number, item in enumerate(items):
        wheel.place(item, 1000 + 30 + number / 1000)
    assert clock.until(1029.9) == 0
    assert clock.until(1050) <= 10 * 4 + 10_000 // AT_ONCE + 2
    assert all(len(item.looked) == 1 for item in items)


@pure
def test_one_short_deadline_costs_one_look(wheel: Wheel, clock: Clock) -> None:
    items = [Item() for _ in range(1000)]
    for item in items:
        wheel.place(item, 1030)
    wheel.place(items[0], 1000.02)
    clock.until(1029)
    assert [len(item.looked) for item in items] == [1] + [0] * 999


@pure
def test_who_is_due_again_is_looked_at_again(wheel: Wheel, clock: Clock) -> None:
    item = Item(1.0, 2.0)
    wheel.place(item, 1001)
    clock.until(1010)
    assert [round(at, 1) for at in item.looked] == pytest.approx([1001, 1002, 1004], abs=0.3)


@pure
def test_many_that_are_due_at_once_do_not_hold_the_loop(wheel: Wheel, clock: Clock) -> None:
    items = [Item() for _ in range(AT_ONCE * 3)]
    for item in items:
        wheel.place(item, 1001)
    (timer,) = clock.timers
    clock.now = timer[0]
    timer[1]()
    assert sum(len(item.looked) for item in items) == AT_ONCE
    clock.until(1002)
    assert all(len(item.looked) == 1 for item in items)


@pure
def test_who_is_removed_is_not_looked_at_and_an_empty_wheel_has_no_timer(
    wheel: Wheel, clock: Clock
) -> None:
    item, other = Item(), Item()
    wheel.place(item, 1001)
    wheel.place(other, 1002)
    wheel.remove(item)
    wheel.remove(other)
    assert clock.timers == []
    clock.until(1010)
    assert item.looked == other.looked == []


@pure
def test_one_that_fails_does_not_take_the_others_deadlines(wheel: Wheel, clock: Clock) -> None:
    class Failing(Item):
        def check_deadlines(self, now: float) -> float:
            raise ValueError("fails")

    good = [Item() for _ in range(5)]
    for item in (*good, Failing(), Failing()):
        wheel.place(item, 1001)
    clock.until(1005)
    assert [len(item.looked) for item in good] == [1] * 5
    assert [str(failure["exception"]) for failure in clock.failures] == ["fails", "fails"]


def test_a_short_time_limit_of_one_route_wakes_nobody_else() -> None:
    """Connections stay where they are, and are not looked at, whatever the limit of a route."""

    async def main() -> int:
        async def hello(request: Request) -> str:
            return "hello"

        app = App({"/": hello, "/fast": hello}, route_limits={"/fast": RouteLimits(timeout=0.02)})
        connections = [MemoryConnection(app) for _ in range(200)]
        for connection in connections:
            connection.feed(GET)
        connections[0].feed(FAST)
        looked = 0
        loop = asyncio.get_running_loop()
        place = Wheel.place

        def counted(self: Wheel, item: Any, when: float) -> None:
            nonlocal looked
            looked += 1
            place(self, item, when)

        Wheel.place = counted  # type: ignore[method-assign]
        try:
            done = loop.create_future()
            loop.call_later(0.2, done.set_result, None)
            await done
        finally:
            Wheel.place = place  # type: ignore[method-assign]
            for connection in connections:
                connection.lost()
        return looked

    loop = new_event_loop()
    try:
        assert loop.run_until_complete(main()) <= 5
    finally:
        loop.close()


def test_a_loop_that_served_is_not_kept_by_its_deadlines() -> None:
    async def hello(request: Request) -> str:
        return "hello"

    async def main() -> None:
        connection = MemoryConnection(App({"/": hello}, limits=ServerLimits()))
        connection.feed(GET)
        connection.lost()

    loop = new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
