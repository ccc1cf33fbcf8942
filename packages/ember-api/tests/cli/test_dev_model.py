"""The supervisor of `ember dev` with applications that are played, and a clock that is turned."""

from __future__ import annotations

import random
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ember.cli.dev import supervisor as module
from ember.cli.dev.process import DevProcess
from ember.cli.dev.supervisor import GRACE, Supervisor
from ember.server.processes.deadlines import STACK_DUMP_TIMEOUT
from ember.server.processes.orders import Order

pytestmark = pytest.mark.once

STARTS = ("serves", "fails", "hangs in its import", "hangs in a hook")
ENDS = ("obeys", "dies", "ignores", "is stopped")


class Line:
    def close(self) -> None: ...


class Played(DevProcess):
    """An application: what it does is chosen when it is told to serve, as its code is read then."""

    def __init__(self, system: PlayedSystem, pid: int) -> None:
        class Process:
            returncode: int | None = None
            stderr = None

        process: Any = Process()
        process.pid = pid
        super().__init__(process, Line(), born=system.time)  # type: ignore[arg-type]
        self.system, self.code = system, -1
        self.status: int | None = None
        self.start, self.end = "", ""

    def copy_stderr(self) -> None: ...
    def last_words(self) -> str:
        return "ember: it does not import" if self.status == 3 << 8 else "words"

    def receive(self) -> list[tuple[str, str]]:
        if self.status is not None or self.waits or self.ready is not None:
            return []
        took = self.system.time - self.born_to_serve
        if not self.imported and took >= 0.3 and self.start != "hangs in its import":
            return [("imported", "20")]
        if self.imported and took >= 0.6 and self.start == "serves":
            return [("ready", "epoll")]
        if self.imported and took >= 0.6 and self.start == "fails":
            self.status = 3 << 8
        return []

    def send(self, number: int) -> None:
        if self.status is None and (
            number == signal.SIGKILL or (number == signal.SIGTERM and self.end in ("obeys", "dies"))
        ):
            self.status = number

    def send_order(self, order: Order) -> None:
        if order is Order.SERVE:
            self.born_to_serve = self.system.time
            self.code = self.system.code
            self.start, self.end = self.system.kind()
            self.system.check()
        elif self.status is None and self.end in ("obeys", "dies"):
            self.status = 0 if self.end == "obeys" else 7 << 8


class Files:
    def __init__(self, system: PlayedSystem) -> None:
        self.system, self.seen = system, 0

    def changed(self) -> list[str]:
        before, self.seen = self.seen, self.system.code
        return ["main.py"] if self.seen != before else []


class PlayedSystem:
    """`plan`: (moment, a signal or what happens). `code`: the number of edits so far."""

    def __init__(self, seed: int = 0) -> None:
        self.time, self.pids, self.code = 100.0, 0, 0
        self.random = random.Random(seed)
        self.children: list[Played] = []
        self.plan: list[tuple[float, int | Callable[[], object]]] = []
        self.kind: Callable[[], tuple[str, str]] = lambda: ("serves", "obeys")
        self.shown: str | None = None

    def open(self) -> None: ...
    def close(self) -> None: ...
    def wake(self) -> None: ...
    def ignore(self, child: Played) -> None: ...
    def forget(self, child: Played) -> None: ...
    def signals(self) -> list[int]:
        return []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> list[int]:
        self.time += min(max(seconds, 0.001), 0.05)
        assert self.time < 1000, "it does not end"
        came = []
        while self.plan and self.plan[0][0] <= self.time:
            what = self.plan.pop(0)[1]
            if isinstance(what, int):
                came.append(what)
            else:
                what()
        self.check()
        return came

    def launch(self, arguments: Any, fds: Any, environment: Any) -> Played:
        self.pids += 1
        self.children.append(Played(self, self.pids))
        return self.children[-1]

    def reap(self, child: Played) -> int | None:
        return child.status

    def alive(self) -> list[Played]:
        return [child for child in self.children if child.status is None]

    def applications(self) -> list[Played]:
        return [child for child in self.alive() if not child.waits]

    def check(self) -> None:
        """One application at a time, and none while the page is shown; one waits at most."""
        assert len(self.applications()) <= 1
        assert not (self.shown is not None and self.applications())
        assert len(self.alive()) <= 2

    def edit(self) -> None:
        self.code += 1


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[PlayedSystem], None]]:
    """Run the supervisor on a system; afterwards nothing is left."""

    class Bell:
        rings = False

        def __init__(self, *_: object) -> None: ...
        def stop(self) -> None: ...

    with socket.create_server(("127.0.0.1", 0)) as sock:

        def run(system: PlayedSystem) -> None:
            class Overlay:
                def __init__(self, sock: object, text: str, hosts: object) -> None:
                    self.text = text

                def start(self) -> None:
                    system.shown = self.text

                def stop(self) -> None:
                    system.shown = None

            monkeypatch.setattr(module, "Bell", Bell)
            monkeypatch.setattr(module, "Overlay", Overlay)
            files: Any = Files(system)
            played: Any = system
            assert Supervisor(sock, None, "auto", "", system=played, watch=files).run() == 0
            assert not system.alive()
            assert system.shown is None

        yield run


Run = Callable[[PlayedSystem], None]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("end", ENDS)
def test_an_edit_replaces_it_in_time_whatever_it_does(
    supervise: Run, start: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    system = PlayedSystem()
    system.kind = lambda: (start, end) if system.code == 1 else ("serves", "obeys")
    serving: list[int] = []
    late = 115 + GRACE + STACK_DUMP_TIMEOUT + 1

    def look() -> None:
        serving.extend(child.code for child in system.applications() if child.ready is not None)

    system.plan = [(110, system.edit), (115, system.edit), (late, look), (130, signal.SIGTERM)]
    supervise(system)
    assert serving == [2]
    said = capsys.readouterr().err
    assert ("still importing after" in said) is (start == "hangs in its import")
    assert ("its start hooks have been running" in said) is (start == "hangs in a hook")
    killed = start != "fails" and end in ("ignores", "is stopped")
    assert (f"is killed: it did not end within {GRACE:g} s" in said) is killed


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_time_and_a_second_one_at_once(
    supervise: Run, start: str, end: str, number: int
) -> None:
    for second in (False, True):
        system = PlayedSystem()
        system.kind = lambda: (start, end)
        system.plan = [(110, number)]
        if second:
            system.plan.append((110.1, number))
        supervise(system)
        obeys = second or end in ("obeys", "dies")
        assert system.time < (110.5 if obeys else 110 + GRACE + STACK_DUMP_TIMEOUT + 0.5)


def test_start_hooks_have_a_deadline_and_an_import_has_none(supervise: Run) -> None:
    shown: list[str | None] = []
    for start in ("hangs in a hook", "hangs in its import"):
        system = PlayedSystem()
        system.kind = lambda start=start: (start, "obeys")  # type: ignore[misc]
        system.plan = [
            (200, lambda system=system: shown.append(system.shown)),
            (201, signal.SIGTERM),
        ]
        supervise(system)
    assert shown[0] is not None
    assert shown[0].startswith("ember: the application was killed: it did not serve within")
    assert shown[1] is None


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_the_last_edit_is_served_or_explained(supervise: Run, seed: int) -> None:
    system = PlayedSystem(seed)
    chance = system.random
    system.kind = lambda: (
        ("serves", "obeys")
        if system.code == edits
        else (chance.choice(STARTS), chance.choice(ENDS))
    )

    def death() -> None:
        if system.alive():
            chance.choice(system.alive()).send(signal.SIGKILL)

    found: list[tuple[list[int], str | None]] = []
    moments = sorted(chance.uniform(101, 160) for _ in range(30))
    what = [chance.choice([death, system.edit, system.edit]) for _ in moments]
    what[-1] = system.edit
    edits = what.count(system.edit)
    system.plan = [
        *zip(moments, what, strict=True),
        (170, lambda: found.append(([c.code for c in system.applications()], system.shown))),
        (171, signal.SIGTERM),
    ]
    supervise(system)
    assert found == [([edits], None)]
    assert system.time < 171 + 1
