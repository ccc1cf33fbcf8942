"""The supervisor with processes that are played, and a clock that is turned."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest
from ember.limits import ServerLimits
from ember.server.options import StartError
from ember.server.processes.orders import Order
from ember.server.workers.process import WorkerProcess
from ember.server.workers.scoreboard import Scoreboard, State
from ember.server.workers.sockets import Sockets
from ember.server.workers.supervisor import Supervisor

pytestmark = pytest.mark.once


class Line:
    def close(self) -> None: ...


class Played(WorkerProcess):
    """A worker: what it does and when is chosen when it is made."""

    def __init__(self, system: PlayedSystem, pid: int, slot: Any, generation: int) -> None:
        super().__init__(pid, Line(), slot, generation, born=system.time)  # type: ignore[arg-type]
        self.system, self.status = system, None
        self.hangs = system.hangs(self)
        self.fails = system.fails(self)
        self.due = system.time + 0.2
        slot.begin(pid)

    status: int | None

    def receive(self) -> list[tuple[str, str]]:
        starting = self.status is None and not self.hangs and self.ready is None
        if starting and self.system.time >= self.due:
            if self.fails:
                self.status = 3 << 8
                return [("failed", "database is away")]
            self.slot.state = State.READY
            return [("ready", "epoll")]
        self.slot.heartbeat += 1
        return []

    def send(self, number: int) -> None:
        if self.status is None and (
            number == signal.SIGKILL or (number == signal.SIGTERM and not self.hangs)
        ):
            self.status = number

    def send_order(self, order: Order) -> None:
        if self.status is None and not self.hangs:
            self.status = 0


class PlayedSystem:
    def __init__(self, seed: int = 0) -> None:
        self.time, self.pids = 100.0, 0
        self.random = random.Random(seed)
        self.workers: list[Played] = []
        self.plan: list[tuple[float, Any]] = []
        self.hangs: Any = lambda worker: False
        self.fails: Any = lambda worker: False

    def open(self) -> None: ...
    def close(self) -> None: ...
    def signals(self) -> list[int]:
        return []

    def now(self) -> float:
        return self.time

    def epoch(self) -> int:
        return int(self.time * 1e9)

    def wait(self, seconds: float) -> list[int]:
        self.time += min(max(seconds, 0.001), 0.05)
        assert self.time < 1000, "it does not end"
        came = []
        while self.plan and self.plan[0][0] <= self.time:
            what = self.plan.pop(0)[1]
            came += [what] if isinstance(what, int) else (what() or [])
        return came

    def fork(self, context: Any, begin: Any, slot: Any, generation: int) -> Played:
        self.pids += 1
        worker = Played(self, self.pids, slot, generation)
        self.workers.append(worker)
        return worker

    def reap(self, worker: Played) -> int | None:
        return worker.status

    def ignore(self, worker: Played) -> None: ...
    def forget(self, worker: Played) -> None: ...
    def alive(self) -> list[Played]:
        return [w for w in self.workers if w.status is None]


def supervise(system: PlayedSystem, workers: int = 3) -> None:
    limits = ServerLimits(shutdown_timeout=2, start_timeout=20)
    Supervisor(
        Scoreboard(workers),
        Sockets([]),
        limits,
        lambda context: 0,
        system=system,  # type: ignore[arg-type]
    ).run()
    assert not system.alive()


def test_a_later_worker_that_fails_ends_all_with_its_reason() -> None:
    system = PlayedSystem()
    system.fails = lambda worker: worker.pid == 3
    with pytest.raises(StartError, match=r"^database is away$"):
        supervise(system)
    assert not system.alive()


def test_a_candidate_that_hangs_is_dropped_by_a_newer_reload_and_by_a_stop() -> None:
    system = PlayedSystem()
    system.hangs = lambda worker: worker.generation == 1
    served: list[set[int]] = []
    system.plan = [
        (105, signal.SIGHUP),
        (110, signal.SIGHUP),
        (120, lambda: served.append({w.generation for w in system.alive()})),
        (121, signal.SIGTERM),
    ]
    supervise(system)
    assert served == [{2}]
    assert system.time < 128


def test_a_start_has_a_deadline() -> None:
    system = PlayedSystem()
    system.hangs = lambda worker: True
    with pytest.raises(StartError, match="start_timeout=20 s"):
        supervise(system)


def test_workers_killed_together_are_replaced_at_once() -> None:
    system = PlayedSystem()
    counts: list[int] = []

    def kill() -> None:
        for worker in system.alive():
            worker.send(signal.SIGKILL)

    system.plan = [
        (103, kill),
        (104, lambda: counts.append(len(system.alive()))),
        (105, signal.SIGTERM),
    ]
    supervise(system, 8)
    assert counts == [8]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_it_ends_in_time(seed: int) -> None:
    system = PlayedSystem(seed)
    chance = system.random
    hanging = chance.random() < 0.5
    system.hangs = lambda w: w.generation > 0 and hanging and chance.random() < 0.3
    system.fails = lambda w: w.generation > 0 and chance.random() < 0.2

    def death() -> None:
        if system.alive():
            chance.choice(system.alive()).send(signal.SIGKILL)

    moments = sorted(chance.uniform(103, 200) for _ in range(40))
    system.plan = [(m, chance.choice([death, signal.SIGHUP, signal.SIGUSR1])) for m in moments]
    system.plan.append((201, signal.SIGTERM))
    supervise(system)
    assert system.time < 201 + 2 + 2 + 1.5 + 1 + 1.5
