"""Which exceptions come from a signal, and are not the application's."""

from __future__ import annotations

import opcode
import signal
import threading
from asyncio import CancelledError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from types import CodeType, TracebackType

_RAISE = opcode.opmap["RAISE_VARARGS"]


def from_signal(error: BaseException) -> bool:
    """Whether a signal handler raised `error` into the code that happened to run.

    Ctrl-C ends the program, whichever request was being served. A handler that raises SystemExit or
    KeyboardInterrupt by itself, as `sys.exit()` does, only fails its own request. An `Exception`
    is always the application's.
    """
    if isinstance(error, (Exception, CancelledError)):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False  # Python runs signal handlers in the main thread only
    codes = _handlers()
    traceback, last = error.__traceback__, None
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback, last = traceback.tb_next, traceback
    if not isinstance(error, KeyboardInterrupt):
        return False
    # The default handler of SIGINT is written in C and leaves no frame. It interrupts between two
    # instructions, so that the one in hand is not a `raise`.
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return default and (last is None or not _raises(last))


def raise_from(loop: AbstractEventLoop, error: BaseException) -> None:
    """Let `error`, the KeyboardInterrupt or SystemExit of a signal handler, end `loop` in its next
    turn. uvloop takes what a protocol raises for an error of its connection and goes on."""
    loop.call_soon(_raise, error)


def _raise(error: BaseException) -> None:
    raise error


def _handlers() -> set[CodeType]:
    """The code of every signal handler that is written in Python."""
    codes = set()
    for number in signal.valid_signals():
        handler: object = signal.getsignal(number)
        while hasattr(handler, "func"):  # functools.partial, as asyncio.Runner has it
            handler = handler.func
        handler = getattr(handler, "__func__", handler)
        code = getattr(handler, "__code__", None)
        if code is None and handler is not None:
            code = getattr(getattr(type(handler), "__call__", None), "__code__", None)  # noqa: B004
        if code is not None:
            codes.add(code)
    return codes


def _raises(traceback: TracebackType) -> bool:
    """Whether a `raise` statement stands where `traceback` points."""
    at = traceback.tb_lasti
    return at >= 0 and traceback.tb_frame.f_code.co_code[at] == _RAISE
