"""Resets signal handling in children that the application forks (`os.fork`, `multiprocessing`).

A forked child inherits the signal handlers and the wake-up descriptor of the event loop: a signal
for the child would stop the server. So the child gets the default handlers.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterable

#: The signals that the server in this process handles.
_owned: set[int] = set()


def own(numbers: Iterable[int]) -> None:
    """The server in this process handles these signals from now on."""
    _owned.update(numbers)


def disown() -> None:
    """The server has ended: it handles no signals any more."""
    _owned.clear()


def _in_child() -> None:
    if not _owned:
        return
    signal.set_wakeup_fd(-1)
    for number in _owned:
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
            continue
        if number == signal.SIGUSR2:
            faulthandler.unregister(number)  # it would write the stack to the supervisor
        signal.signal(number, signal.SIG_DFL)
    _owned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
