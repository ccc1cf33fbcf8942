"""Reopens log files that were moved away, for log rotation (SIGUSR1)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

logger = logging.getLogger("ember.workers")

_others: list[Callable[[], object]] = []


def on_reopen(function: Callable[[], object]) -> None:
    """Call `function` when log files are reopened. It must not block."""
    _others.append(function)


def reopen_logs() -> None:
    """Reopen the file of every `logging.FileHandler` whose file was moved or removed.

    An error is logged, and the handler keeps its open file."""
    for handler in _file_handlers():
        try:
            _reopen(handler)
        except OSError as error:
            logger.error("%s: cannot be opened again: %s", handler.baseFilename, error)
    for function in _others:
        try:
            function()
        except Exception:
            logger.exception("a log could not be opened again")


def _reopen(handler: logging.FileHandler) -> None:
    handler.acquire()
    try:
        old = handler.stream
        if old is None:
            return  # it was not opened yet, or was closed
        try:
            named = os.stat(handler.baseFilename)
        except FileNotFoundError:
            named = None
        if named is not None and os.path.samestat(named, os.fstat(old.fileno())):
            return
        new = handler._open()
        handler.setStream(new)
        old.close()
    finally:
        handler.release()


def _file_handlers() -> Iterator[logging.FileHandler]:
    seen: set[int] = set()
    for owner in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(owner, "handlers", ()):  # placeholders have none
            if isinstance(handler, logging.FileHandler) and id(handler) not in seen:
                seen.add(id(handler))
                yield handler
