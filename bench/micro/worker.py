"""Feeds one build and prints what it cost.

`python -m bench.micro.worker BUILD SECONDS_PER_CASE [APPLICATION CASES]`: modules with `app` and
with `MICRO`, the cases; those of the HTTP part when not given.

Many connections are fed in turn from a callback of a running loop, as a server's loop would do it.
The loop and the feeding are measured once more with a function that does nothing, and taken off.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ember._build import PURE
from ember.eventloop import new_event_loop
from ember.protocol import MemoryConnection

from bench.cases import SLEEP, Case
from bench.http import verify

CONNECTIONS = 64
#: Requests between two looks at the clock.
BATCH = 1024
PASSES = 4
#: Turns of the loop that a handler gets which waits for one; the others answer in their own.
SETTLE = 4
#: How often a batch that is not answered gets as many turns again.
MAX_WAITS = 100


class Feeder:
    """Feeds one case round after round and keeps what each round cost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: Any, case: Case | None) -> None:
        self.loop = loop
        self.app = app
        self.case = case
        self.depth = case.depth if case else 1
        self.turns = BATCH // CONNECTIONS // self.depth
        self.every = SETTLE if case is SLEEP else 1
        self.data = case.request * case.depth if case else b"nothing"
        self.connections: list[MemoryConnection] = []
        self.feeds: list[Callable[[bytes], object]] = [len] * CONNECTIONS
        self.costs: list[float] = []
        self.sent: list[bytes] = []
        self.left, self.waited = 0, 0
        self.started, self.spent = 0, 0
        self.stop = 0.0
        self.answer_size = 0
        self.done: asyncio.Future[None] = loop.create_future()

    def run(self, seconds: float) -> None:
        """Feed for so long, a whole number of rounds, at least five of them."""
        self.done = self.loop.create_future()
        self.stop = time.perf_counter() + seconds
        self.loop.call_soon(self._round)
        self.loop.run_until_complete(self.done)

    def _round(self) -> None:
        if self.case and not self.connections:  # made here, where their loop is running
            self.connections = [MemoryConnection(self.app) for _ in range(CONNECTIONS)]
            self.feeds = [connection.feed for connection in self.connections]
        self.sent = [b""] * len(self.connections)
        self.spent, self.waited = 0, 0
        self.left = self.turns * self.every + SETTLE
        self.started = time.thread_time_ns()
        self._turn()

    def _turn(self) -> None:
        try:
            self.left -= 1
            if self.left >= SETTLE and self.left % self.every == 0:
                data = self.data
                for feed in self.feeds:
                    feed(data)
            elif not self.left:
                self.spent += time.thread_time_ns() - self.started
                self._finish()
                return
            self.loop.call_soon(self._turn)
        except Exception as error:  # noqa: BLE001 - whatever it is ends the run with its reason
            self.done.set_exception(error)

    def _finish(self) -> None:
        if not self._complete():
            # Genuine tasks take several turns for a pipelined batch: let the clock run on for them.
            self.waited += 1
            self.left = SETTLE
            self.started = time.thread_time_ns()
            self.loop.call_soon(self._turn)
            return
        self.costs.append(self.spent / BATCH / 1000)
        if time.perf_counter() < self.stop or len(self.costs) < 5:
            self.loop.call_soon(self._round)
        else:
            self.done.set_result(None)

    def _whole(self, sent: bytes) -> int:
        """How many right answers these are, whatever their sizes: an Age grows by a digit."""
        count = 0
        while self.case and (found := verify.read_answer(sent)) is not None:
            verify.check(self.case, found[0])
            count, sent = count + 1, found[1]
        return count if not sent else 0

    def _complete(self) -> bool:
        """Look at every answer of the round, outside the clock; False while some are to come."""
        if self.case is None:
            return True
        count = self.turns * self.depth
        for number, connection in enumerate(self.connections):
            sent = self.sent[number] = self.sent[number] + connection.take()
            if not self.answer_size and (found := verify.read_answer(sent)) is not None:
                verify.check(self.case, found[0])
                self.answer_size = len(found[0].raw)
            right = sent.count(b"\r\n\r\n" + self.case.body)
            if right == count and len(sent) == count * self.answer_size:
                continue
            if right == count and self._whole(sent) == count:
                continue
            if self.waited < MAX_WAITS and len(sent) < count * max(self.answer_size, 1):
                return False
            raise AssertionError(
                f"{self.case.name}: {right} right answers of {count}: {sent[:200]!r}"
            )
        return True


def measure(seconds: float, app: Any, wanted: Sequence[Case]) -> dict[str, Any]:
    """All cases in turning passes; microseconds of CPU time per request."""
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(app.startup())
        nothing = Feeder(loop, app, None)
        feeders = [Feeder(loop, app, case) for case in wanted]
        gc.collect()
        for _ in range(PASSES):
            for feeder in (nothing, *feeders):
                feeder.run(seconds / PASSES)
        loop.run_until_complete(app.shutdown())
    finally:
        loop.close()
    empty = statistics.median(nothing.costs)
    results: dict[str, Any] = {}
    for case, feeder in zip(wanted, feeders, strict=True):
        best = statistics.quantiles(feeder.costs, n=10)[0]
        results[case.name] = {
            "title": case.title,
            "us": round(statistics.median(feeder.costs) - empty, 3),
            "best_us": round(best - empty, 3),
            "empty_us": round(empty, 3),
            "rounds": len(feeder.costs),
        }
    return results


def main() -> None:
    """Print the figures as JSON, or why there are none."""
    if (sys.argv[1] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[1]} build was asked for and is not there: `make build`")
    names = sys.argv[3:] or ["bench.http.ember_app", "bench.cases"]
    application, asked = (importlib.import_module(name) for name in names)
    try:
        print(json.dumps(measure(float(sys.argv[2]), application.app, asked.MICRO)))
    except (AssertionError, verify.ServerFailed) as error:
        print(error, flush=True)
        os._exit(1)  # tasks that wait for ever would only talk over the reason


if __name__ == "__main__":
    main()
