"""The core of both supervisors with children that are played, and a clock that is turned: what a
child does at each point of its life, and what becomes of it."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Sequence
from typing import Any

import pytest
from ember.server.processes.child import Child, how_it_ended
from ember.server.processes.children import Children, StopTimes
from ember.server.processes.deadlines import STACK_DUMP_TIMEOUT
from ember.server.processes.orders import Order

pytestmark = pytest.mark.once

TIMES = StopTimes(starting=3, serving=10, late="it did not end within 10 s", hurried=1.25)
#: Turns of the clock, in seconds, and how much later than its deadline something may be noticed.
TURN = 0.05
SLACK = STACK_DUMP_TIMEOUT + 4 * TURN
START = 2.0
#: What it does until it serves, and what it does with an order to end.
STARTS = ("serves", "dies", "dies at once", "hangs")
ENDS = ("obeys", "dies", "ignores", "is stopped")
LIVES = list(itertools.product(STARTS, ENDS))
STACK = ["Current thread 0x1 (most recent call first):", '  File "/srv/main.py", line 7 in lives']


class Line:
    def close(self) -> None: ...


class Played(Child):
    """A child: what it does is chosen when it is made."""

    def __init__(self, system: PlayedSystem, pid: int, start: str, end: str, waits: bool) -> None:
        super().__init__(pid, Line(), born=system.time, waits=waits)  # type: ignore[arg-type]
        self.system, self.start, self.end = system, start, end
        self.status = 7 << 8 if start == "dies at once" else None
        self.ended_at: float | None = system.time if self.status else None

    status: int | None

    def _end(self, status: int) -> None:
        if self.status is None:
            self.status, self.ended_at = status, self.system.time

    def receive(self) -> list[tuple[str, str]]:
        idle = self.status is None and not self.waits and self.ready is None
        if idle and self.system.time >= self.started + START:
            if self.start == "dies":
                self._end(signal.SIGSEGV)
            elif self.start == "serves":
                return [("ready", "epoll")]
        return []

    def send(self, number: int) -> None:
        if number == signal.SIGKILL:
            self._end(signal.SIGKILL)
        elif number == signal.SIGTERM and self.end in ("obeys", "dies"):
            self._end(signal.SIGTERM)
        elif number == signal.SIGUSR2 and self.status is None and self.end != "is stopped":
            self.stack += STACK

    def send_order(self, order: Order) -> None:
        if order is not Order.SERVE and self.end in ("obeys", "dies"):
            self._end(0 if self.end == "obeys" else 7 << 8)


class PlayedSystem:
    def __init__(self) -> None:
        self.time, self.pids = 100.0, 0

    def now(self) -> float:
        return self.time

    def signals(self) -> list[int]:
        return []

    def wait(self, seconds: float) -> list[int]:
        self.time += min(max(seconds, 0.001), TURN)
        return []

    def reap(self, child: Played) -> int | None:
        return child.status

    def ignore(self, child: Played) -> None: ...
    def forget(self, child: Played) -> None: ...


class Heard:
    """A voice that keeps what is said."""

    def __init__(self) -> None:
        self.slow_ones: list[tuple[Child, float, str]] = []
        self.kills: dict[Child, tuple[str, list[str]]] = {}

    def slow(self, child: Child, seconds: float, where: str) -> None:
        self.slow_ones.append((child, seconds, where))

    def killed(self, child: Child, what: str, stack: Sequence[str]) -> None:
        assert child not in self.kills, "it is killed once"
        self.kills[child] = (what, list(stack))


class World:
    def __init__(self, times: StopTimes = TIMES) -> None:
        self.system, self.heard = PlayedSystem(), Heard()
        self.children: Children[Any] = Children(self.system, self.heard, times)  # type: ignore[arg-type]
        self.ended: dict[Child, int] = {}

    def add(self, start: str, end: str, *, waits: bool = False) -> Played:
        self.system.pids += 1
        return self.children.add(Played(self.system, self.system.pids, start, end, waits))

    def turn(self) -> None:
        events = self.children.wait(float("inf"))
        for child, status in events.ended:
            assert child not in self.ended, "its end is told once"
            self.ended[child] = status
        self.children.look()

    def until(self, moment: float) -> None:
        while self.system.time < moment:
            self.turn()

    def until_all_have_ended(self, within: float) -> None:
        end = self.system.time + within
        while self.children.running:
            assert self.system.time < end, f"{[vars(c) for c in self.children.running.values()]}"
            self.turn()


@pytest.mark.parametrize(("start", "end"), LIVES)
@pytest.mark.parametrize("when", [0.5, 5.0])
def test_the_first_order_to_stop_ends_every_child_in_time(
    start: str, end: str, when: float
) -> None:
    world = World()
    child = world.add(start, end)
    world.until(100 + when)
    serves = child.ready is not None
    world.children.stop()
    limit = TIMES.serving if serves else TIMES.starting
    world.until_all_have_ended(limit + SLACK)
    obeys = end in ("obeys", "dies") or start.startswith("dies")
    assert child.killed is not obeys
    assert (child in world.heard.kills) is not obeys
    if not obeys:
        what, stack = world.heard.kills[child]
        reason = TIMES.late if serves else "it did not end while it started"
        assert what == f"is killed: {reason}"
        assert child.ended(world.ended[child]) == reason
        assert ("it wrote no stack" in stack[0]) is (end == "is stopped")
        assert child.ended_at is not None
        assert child.ended_at >= 100 + when + limit


@pytest.mark.parametrize(("start", "end"), LIVES)
def test_the_second_order_hurries_and_the_third_kills(start: str, end: str) -> None:
    for times in (2, 3):
        world = World()
        child = world.add(start, end)
        world.until(105)
        for _ in range(times):
            world.children.stop()
        world.until_all_have_ended(TIMES.hurried + SLACK if times == 2 else 3 * TURN)
        assert child in world.ended


def test_the_second_order_kills_where_that_is_wanted() -> None:
    world = World(TIMES._replace(kill_at=2))
    world.add("serves", "ignores")
    world.add("hangs", "is stopped")
    world.until(105)
    world.children.stop()
    world.children.stop()
    world.until_all_have_ended(3 * TURN)


def test_a_child_that_waits_has_no_deadline_until_it_is_to_serve_and_a_stop_kills_it() -> None:
    world = World()
    child = world.add("serves", "is stopped", waits=True)
    child.serve_within(100, 10, "late")
    world.until(1000)
    assert child in world.children.running.values()
    assert not world.heard.slow_ones
    child.serve_by = None
    world.children.serve(child)
    world.until(1000 + START + 1)
    assert child.ready is not None
    other = world.add("serves", "ignores", waits=True)
    world.children.stop()
    world.until(world.system.time + 3 * TURN)
    assert other in world.ended
    assert child not in world.ended


@pytest.mark.parametrize("end", ENDS)
def test_a_start_that_hangs_is_said_to_be_slow_then_is_killed(end: str) -> None:
    world = World()
    child = world.add("hangs", end)
    child.serve_within(100, 50, "it did not serve within 50 s")
    world.until_all_have_ended(50 + SLACK + 0.5)
    where = "" if end == "is stopped" else "/srv/main.py:7"
    assert [(round(seconds), at) for _, seconds, at in world.heard.slow_ones] == [
        (10, where),
        (20, where),
        (40, where),
    ]
    assert world.heard.kills[child][0] == "is killed: it did not serve within 50 s"
    assert child.ended(world.ended[child]) == "it did not serve within 50 s"


def test_a_start_without_a_deadline_is_never_killed() -> None:
    world = World()
    child = world.add("hangs", "obeys")
    world.until(100 + 700)
    assert [round(seconds) for _, seconds, _ in world.heard.slow_ones] == [
        10, 20, 40, 80, 160, 320, 640,
    ]  # fmt: skip
    assert not world.heard.kills
    world.children.end(child, Order.STOP, 3, "late")
    world.until_all_have_ended(3 * TURN)


def test_an_order_that_came_before_it_could_read_it_is_given_again_when_it_serves() -> None:
    """A program may ignore SIGTERM while it is imported."""

    class Deaf(Played):
        def send(self, number: int) -> None:
            if number != signal.SIGTERM:
                super().send(number)

    world = World()
    child = world.children.add(Deaf(world.system, 1, "serves", "obeys", False))
    world.until(101)
    world.children.stop()
    world.until_all_have_ended(START + 1)
    assert not child.killed


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_all_end_in_time_and_each_end_is_told_once(seed: int) -> None:
    chance, world = random.Random(seed), World()
    children = [
        world.add(chance.choice(STARTS), chance.choice(ENDS), waits=chance.random() < 0.2)
        for _ in range(12)
    ]
    for moment in sorted(chance.uniform(100, 160) for _ in range(20)):
        world.until(moment)
        child: Played = chance.choice(children)
        if child not in world.children.running.values():
            continue
        if child.waits:
            world.children.serve(child)
        elif chance.random() < 0.3:
            child.send(signal.SIGKILL)
        elif child.ready is not None:
            world.children.end(child, Order.RETIRE, chance.uniform(0.5, 20), "late")
    world.children.stop()
    world.until_all_have_ended(max(TIMES.serving, TIMES.starting) + SLACK)
    assert world.ended.keys() == set(children)
    assert all(child.killed for child in world.heard.kills)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exited with status 0"),
        (7 << 8, "exited with status 7"),
        (9, "was killed by SIGKILL (9)"),
        (int(signal.SIGSEGV) | 0x80, "was killed by SIGSEGV (11)"),
        (63, "was killed by a signal (63)"),
    ],
)
def test_an_end_is_told_in_words(status: int, text: str) -> None:
    assert how_it_ended(status) == text
