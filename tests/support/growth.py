"""How the work of a reader grows with what it reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ember.exceptions import HTTPError, ProtocolError

#: Four times the input is four times the work; the square would be sixteen times.
MOST = 9.0
#: Seconds that are noise. What is quadratic takes far more at the sizes that are asked for.
NOISE = 0.004


def _seconds(run: Callable[[Any], object], text: Any) -> float:
    began = time.thread_time()
    # Most of what is read here is refused.
    with contextlib.suppress(ValueError, HTTPError, ProtocolError):
        run(text)
    return time.thread_time() - began


def assert_linear(
    run: Callable[[Any], object], make: Callable[[int], Any], size: int = 65536
) -> None:
    """That `run(make(size))` takes no more than about four times what `run(make(size / 4))` takes.

    CPU time of this thread, the best of several tries: what others do at the same time adds some,
    and never takes any away.
    """
    small, large = make(size // 4), make(size)
    best_small = best_large = float("inf")
    for _ in range(12):
        best_small = min(best_small, _seconds(run, small))
        best_large = min(best_large, _seconds(run, large))
        if best_large <= MOST * best_small + NOISE:
            return
    raise AssertionError(
        f"{best_small * 1000:.2f} ms for {size // 4}, {best_large * 1000:.2f} ms for {size}: "
        f"{large[:20]!r}..."
    )
