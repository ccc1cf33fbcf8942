"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE = 10.0
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
