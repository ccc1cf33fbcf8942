"""Whether a SIGHUP is an operator's, or that of a terminal that was closed."""

from __future__ import annotations

import os


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


_had: list[bool] = []


def remember_terminal() -> None:
    """Called when the server starts."""
    _had[:] = [_has_terminal()]


def terminal_is_gone() -> bool:
    """There was a controlling terminal, and there is none any more."""
    return _had == [True] and not _has_terminal()
