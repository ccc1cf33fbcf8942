"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

#: Seconds that anything in a test may take before it has failed. Nobody waits for so long unless
#: something is wrong, so it is long enough for a machine that has much else to do.
DEADLINE = 120.0
STEP = 0.002


def eventually(predicate: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Return as soon as `predicate()` is true; fail after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not predicate():
        assert time.monotonic() < end, "did not become true in time"
        time.sleep(STEP)


def settled(value: Callable[[], int], quiet: float = 0.25, deadline: float = DEADLINE) -> int:
    """The value once it has not changed for `quiet` seconds; fail when it keeps changing."""
    end = time.monotonic() + deadline
    last, since = value(), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < end, f"still changing: {last}"
        time.sleep(STEP)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last


def crowd() -> float:
    """How many programs share a core now: 1.0 on a machine with nothing else to do."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Try:
    """One try of `tries`: `bound(took, most)` says what has to be kept in it."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self.asked = False

    def __call__(self, took: float, most: float, what: str = "it") -> None:
        """That `what` took less than `most` seconds, on a core of one's own."""
        self.asked = True
        most *= crowd()
        if took >= most:
            self.missed.append(f"{what} took {took:.3f} s, not less than {most:.3f} s")


def tries(attempts: int = 3) -> Iterator[Try]:
    """Bounds of time that hold on a busy machine: `for bound in tries(): ...` does what is measured
    again, in fresh conditions, until every bound was kept in one try.

    What other programs take from this one passes, and so does not spoil every try; where several
    share a core all the time, a bound is for a share of it (`crowd`). A delay of our own is there
    each time: then the test fails, and says how long each try took. Only `bound(...)` is given a
    second chance; what is asserted has to hold in every try.
    """
    missed: list[str] = []
    for number in range(attempts):
        bound = Try()
        yield bound
        assert bound.asked, "nothing was measured"
        if not bound.missed:
            return
        missed += [f"try {number + 1}: {line}" for line in bound.missed]
    raise AssertionError("\n".join(missed))
