"""Finds out whether a SIGHUP came from an operator, or from a terminal that was closed."""

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
    """Remember whether there is a controlling terminal. Called when the server starts."""
    _had[:] = [_has_terminal()]


def terminal_is_gone() -> bool:
    """Whether there was a controlling terminal at the start, and there is none now."""
    return _had == [True] and not _has_terminal()
