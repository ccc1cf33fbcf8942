"""Children that the application forks, by `os.fork` or `multiprocessing`: the signals of the server
are not theirs.

A fork inherits the handlers of its parent and the descriptor that wakes the parent's loop, so that
a signal for the child would be acted on by the server. The child gets what a new program has.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterable

#: The signals that this process handles for its server.
_owned: set[int] = set()


def own(numbers: Iterable[int]) -> None:
    """This process handles these for its server from now on."""
    _owned.update(numbers)


def disown() -> None:
    """The server is over: what becomes of signals is the program's business again."""
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
            faulthandler.unregister(number)  # the stack would go to the supervisor
        signal.signal(number, signal.SIG_DFL)
    _owned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
