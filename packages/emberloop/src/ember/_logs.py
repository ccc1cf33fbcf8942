"""Loggers whose lines say what happened, whatever clients put into them.

`get_logger` is `logging.getLogger` with two filters. One escapes every argument of a record: no
path, name or message of an exception begins a line or moves the cursor of a terminal. The other
keeps floods short: of one kind of message some lines, and then how many more there were. A logger
is one object for all modules that ask for its name, so that one of them is enough to ask here.
"""

from __future__ import annotations

import logging
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BURST", "PERIOD", "format_exception", "get_logger", "printable", "safe_str"]

#: Lines of one kind (one logger and format, below ERROR) in one `PERIOD` of seconds; those that
#: follow are counted.
BURST = 20
PERIOD = 10.0

_PLAIN = (int, float, type(None))


def printable(text: str) -> str:
    """`text` on one line and without what a terminal takes for an order: control characters (C1
    too), line and paragraph separators, marks of direction, lone surrogates, as `\\xNN`, `\\uNNNN`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def safe_str(value: object) -> str:
    """`str(value)`, or that it has none: what goes wrong is logged, never what logs it."""
    return _safe(str, value)


def _safe(convert: Callable[[object], str], value: object) -> str:
    try:
        return convert(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it may raise anything, SystemExit as well
        return f"<{type(value).__qualname__}: its text raised {type(error).__qualname__}>"


def format_exception(error: BaseException) -> str:
    """The traceback of `error`, without a line end at its end. Lines of its message that are not
    the first one are indented and marked, so that they pass for no line of the log."""
    try:
        found = traceback.TracebackException.from_exception(error)
        _tame(found, set())
        text = "".join(found.format())
    except Exception as failure:  # noqa: BLE001 - see `safe_str`
        text = f"{type(error).__qualname__}: {printable(safe_str(error))}\n"
        text += f"(its traceback cannot be written: {type(failure).__qualname__})"
    return text.removesuffix("\n")


def _tame(found: traceback.TracebackException, seen: set[int]) -> None:
    if id(found) in seen:
        return
    seen.add(id(found))
    # `traceback` offers no other way to what the exception says; without the attribute the message
    # stays as it is.
    message = getattr(found, "_str", None)
    if isinstance(message, str):
        found._str = _marked(message)  # type: ignore[attr-defined]
    notes = getattr(found, "__notes__", None)
    if isinstance(notes, list):
        found.__notes__ = [_marked(safe_str(note)) for note in notes]
    for other in (found.__cause__, found.__context__, *(getattr(found, "exceptions", None) or ())):
        if other is not None:
            _tame(other, seen)


def _marked(text: str) -> str:
    return "\n    | ".join(printable(line) for line in text.split("\n"))


class _Text:
    """An argument of a record that is neither text nor a number."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(safe_str(self._value))

    def __repr__(self) -> str:
        return printable(_safe(repr, self._value))


def _argument(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    return value if isinstance(value, _PLAIN) else _Text(value)


class _Escaping(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        if isinstance(args, tuple):
            record.args = tuple(map(_argument, args))
        elif args:
            record.args = {key: _argument(value) for key, value in args.items()}
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            record.exc_text = format_exception(record.exc_info[1])
        return True


class _Kind:
    """Lines of one kind in one period."""

    __slots__ = ("last", "lines", "more", "since", "timed")

    def __init__(self, now: float) -> None:
        self.since = now
        self.lines = 0
        self.more = 0
        self.last = ""
        self.timed = False


class _Brief(logging.Filter):
    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger
        self._kinds: dict[tuple[object, int], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR or record.levelno < logging.INFO:
            return True
        now = time.monotonic()
        key = record.msg, record.levelno
        kind = self._kinds.get(key)
        if kind is None or now >= kind.since + PERIOD:
            if kind is not None:
                self._summarise(key, kind)
            kind = self._kinds[key] = _Kind(now)
        kind.lines += 1
        if kind.lines <= BURST:
            return True
        kind.more += 1
        kind.last = record.getMessage()
        if not kind.timed:
            kind.timed = True
            _call_later(PERIOD, lambda: self._summarise(key, kind))
        return False

    def _summarise(self, key: tuple[object, int], kind: _Kind) -> None:
        # The timer is left to run out: this may be another thread than its loop's.
        if self._kinds.get(key) is kind:
            del self._kinds[key]
        more, kind.more = kind.more, 0
        if more and self._logger.isEnabledFor(key[1]):
            text = f"and {more} more like this in {PERIOD:g} s, the last: %s"
            record = self._logger.makeRecord(
                self._logger.name, key[1], __file__, 0, text, (kind.last,), None
            )
            self._logger.callHandlers(record)  # past the filters


def _call_later(seconds: float, function: Callable[[], object]) -> None:
    import asyncio
    import contextvars

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # then the next line of the kind says it
    # In no context: what is logged for one request must not keep it alive.
    loop.call_later(seconds, function, context=contextvars.Context())


_brief: dict[str, _Brief] = {}


def get_logger(name: str) -> logging.Logger:
    """`logging.getLogger(name)`, whose records are escaped and whose floods are summarised."""
    logger = logging.getLogger(name)
    if name not in _brief:
        _brief[name] = _Brief(logger)
        logger.addFilter(_brief[name])
        logger.addFilter(_Escaping())
    return logger


def forget_floods() -> None:
    """Start to count from zero; for tests."""
    for brief in _brief.values():
        brief._kinds.clear()
