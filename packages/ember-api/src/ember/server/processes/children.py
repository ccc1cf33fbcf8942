"""All child processes of a supervisor: one turn of waiting, and the order to stop."""

from __future__ import annotations

import signal
from typing import Generic, NamedTuple, TypeVar

from ember.server.processes.child import Child
from ember.server.processes.deadlines import CHECK_INTERVAL, Deadlines, Voice
from ember.server.processes.orders import Order
from ember.server.processes.system import System

C = TypeVar("C", bound=Child)


class StopTimes(NamedTuple):
    """Seconds that a child has to end, and why it is killed if it does not.

    - `starting`: after the first order to stop, if it does not serve yet.
    - `serving`: after the first order to stop, if it serves; `late` is the reason.
    - `hurried`: after the second order.
    - `kill_at`: the number of the order that kills.
    """

    starting: float
    serving: float
    late: str
    hurried: float = 1.25
    kill_at: int = 3


class Events(NamedTuple, Generic[C]):
    """What has happened, in the order in which it has to be handled: reports of children as
    (child, word, text), signals to this process, and children that have ended, with wait status."""

    reports: list[tuple[C, str, str]]
    signals: list[int]
    ended: list[tuple[C, int]]


class Children(Generic[C]):
    """The children that run, by pid; their deadlines; and how often they were told to stop.

    `system`: the operating system; tests give another one.
    """

    def __init__(self, system: System, voice: Voice[C], times: StopTimes) -> None:
        self.system = system
        self.deadlines = Deadlines(voice)
        self.running: dict[int, C] = {}
        #: The orders to stop so far.
        self.stops = 0
        self._times = times

    # -- one turn -----------------------------------------------------------------------------

    def wait(self, seconds: float) -> Events[C]:
        """Wait until something happens, at most `seconds`, and return all that has happened.

        A child that serves or has failed is noted as such; the reports are returned too. A child
        that has ended is not among `running` any more."""
        until = self.deadlines.until(self.running.values(), self.system.now())
        signals = self.system.wait(min(seconds, until))
        reports: list[tuple[C, str, str]] = []
        for child in self.running.values():
            self._listen(child, reports)
        ended = []
        for child in tuple(self.running.values()):
            status = self.system.reap(child)
            if status is not None:
                self._listen(child, reports)
                self._forget(child)
                ended.append((child, status))
        # A signal to the process group reaches this process before a child has ended by it.
        return Events(reports, signals + self.system.signals(), ended)

    def _listen(self, child: C, reports: list[tuple[C, str, str]]) -> None:
        said = child.receive()
        if child.hung_up:
            self.system.ignore(child)
        for word, text in said:
            if word == "ready":
                child.ready = self.system.now()
                child.loop = text
                if child.asked is not None:
                    # The signal may have come before it could handle signals.
                    child.send_order(child.asked)
            elif word == "failed":
                child.failure = text
            reports.append((child, word, text))

    def _forget(self, child: C) -> None:
        self.running.pop(child.pid, None)
        self.system.forget(child)

    def look(self) -> None:
        """Enforce the deadlines."""
        self.deadlines.look(tuple(self.running.values()), self.system.now())

    # -- beginning and end --------------------------------------------------------------------

    def add(self, child: C) -> C:
        """Supervise a child that was started."""
        self.running[child.pid] = child
        return child

    def serve(self, child: C) -> None:
        """Let a child that waits begin to serve."""
        child.waits = False
        child.started = self.system.now()
        child.send_order(Order.SERVE)

    def end(self, child: C, order: Order, seconds: float, reason: str) -> None:
        """Ask a child to end within `seconds`; then it is killed for `reason`.

        A child that does not serve yet gets a SIGTERM: it may not read orders."""
        child.asked = order
        if child.ready is None:
            child.send(signal.SIGTERM)
        else:
            child.send_order(order)
        child.end_within(self.system.now(), seconds, reason)

    def stop(self) -> None:
        """Ask all children to end. The second time: at once. From the `kill_at`-th time on: kill
        them."""
        self.stops += 1
        times = self._times
        for child in self.running.values():
            if self.stops >= times.kill_at or child.waits:
                child.kill()
            elif self.stops > 1:
                reason = "it did not end at the second signal"
                self.end(child, Order.ABORT, times.hurried, reason)
            elif child.ready is None:
                self.end(child, Order.STOP, times.starting, "it did not end while it started")
            else:
                self.end(child, Order.STOP, times.serving, times.late)

    def kill_all(self) -> list[C]:
        """Kill all children that still run, and wait for their end. Returns them."""
        killed = list(self.running.values())
        for child in killed:
            child.kill()
            while self.system.reap(child) is None:
                self.system.wait(CHECK_INTERVAL)
            self._forget(child)
        return killed
