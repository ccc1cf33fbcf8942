"""Says that a child starts slowly, and kills children that take too long to start or to end.

Before either, the child is asked for its stack (SIGUSR2), which shows where it hangs.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from ember.server.processes.child import Child, StackRequest
from ember.server.processes.dumps import main_stack, place

C = TypeVar("C", bound=Child)
Contra = TypeVar("Contra", bound=Child, contravariant=True)

#: Seconds between two checks of the children while one of them starts.
CHECK_INTERVAL = 0.5
#: Seconds between two checks if no child has a deadline.
IDLE_INTERVAL = 5.0
#: Seconds in which a child has to write its stack.
STACK_DUMP_TIMEOUT = 1.0
_NO_STACK = "(it wrote no stack: it is stopped, or waits for the kernel)"


class Voice(Protocol[Contra]):
    """How a supervisor says what has become of its children."""

    def slow(self, child: Contra, seconds: float, where: str) -> None:
        """A child has been starting for `seconds`; it is at `where` in the program, "" if that is
        not known."""

    def killed(self, child: Contra, what: str, stack: Sequence[str]) -> None:
        """A child is killed now; `what` goes behind its name. `stack`: lines for the log."""


class Deadlines(Generic[C]):
    """Checks children, and kills those that are over their deadline."""

    def __init__(self, voice: Voice[C]) -> None:
        self._voice = voice

    def until(self, children: Collection[C], now: float) -> float:
        """Seconds until the next check of `children`."""
        soonest = now + IDLE_INTERVAL
        for child in children:
            request = child.stack_request
            if request is not None:
                soonest = min(soonest, request.at + STACK_DUMP_TIMEOUT)
            elif child.starting:
                soonest = min(soonest, now + CHECK_INTERVAL)
            if child.end_by is not None and not child.killed and not (request and request.kills):
                soonest = min(soonest, child.end_by)
        return max(0.0, soonest - now)

    def look(self, children: Iterable[C], now: float) -> None:
        """Check the children."""
        for child in children:
            request = child.stack_request
            # A stopped process cannot write a stack: so the wait has a limit.
            if request is not None and now - request.at >= STACK_DUMP_TIMEOUT:
                child.stack_request = None
                request.then(main_stack(child.stack))
                request = None
            if child.killed or (request is not None and request.kills):
                continue
            if child.end_by is not None:
                if now >= child.end_by:
                    self._give_up(child, now, child.end_reason)
            elif child.starting:
                self._starting(child, now)

    def _starting(self, child: C, now: float) -> None:
        took = now - child.started
        if child.serve_by is not None and now >= child.serve_by:
            self._give_up(child, now, child.late_reason)
        elif took >= child.slow_after and child.stack_request is None:
            child.slow_after *= 2
            self.ask(child, now, partial(self._slow, child, took), kills=False)

    def _slow(self, child: C, seconds: float, stack: list[str]) -> None:
        if child.starting:
            self._voice.slow(child, seconds, place(stack))

    def _give_up(self, child: C, now: float, reason: str) -> None:
        self.ask(child, now, partial(self.kill, child, f"is killed: {reason}", reason), kills=True)

    def ask(self, child: C, now: float, then: Callable[[list[str]], Any], *, kills: bool) -> None:
        """Ask a child for its stack, and call `then(stack)` with that of its main thread."""
        child.stack_request = StackRequest(now, then, kills)
        child.stack.clear()
        child.send(signal.SIGUSR2)

    def kill(self, child: C, what: str, failure: str, stack: list[str]) -> None:
        """Say that `child` is killed, and kill it. `failure`: how it ended, for its `ended`."""
        self._voice.killed(child, what, stack or [_NO_STACK])
        child.failure = failure
        child.kill()
