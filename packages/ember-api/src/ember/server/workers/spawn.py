"""The start of a worker process: a fork of the supervisor, which may then exec the program
again."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ember.server.options import StartError
from ember.server.workers.context import VARIABLE, WorkerContext
from ember.server.workers.forks import own

if TYPE_CHECKING:
    from ember.server.interfaces import ServedApp
    from ember.server.options import Options

logger = logging.getLogger("ember.server")

#: The exit status of a worker that could not start and has reported why.
NOT_STARTED = 3
#: The signals that the supervisor handles. A worker starts without these handlers.
HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


def fork(
    context: Callable[[socket.socket], WorkerContext],
    begin: Callable[[WorkerContext], int],
    close: Iterable[socket.socket],
) -> tuple[int, socket.socket]:
    """Fork a child that runs `begin(context(control_socket))` and exits with the status it returns.

    Returns the pid and the supervisor's end of the control socket. The child closes `close`, which
    belongs to the parent. Raises OSError."""
    ours, theirs = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            _in_child(context(theirs), begin, (ours, *close), before)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    ours.setblocking(False)
    return pid, ours


def _in_child(
    context: WorkerContext,
    begin: Callable[[WorkerContext], int],
    close: Iterable[socket.socket],
    mask: Iterable[int],
) -> None:
    status = 1
    try:
        for sock in close:
            sock.close()
        signal.set_wakeup_fd(-1)
        # Not SIG_IGN: the programs that a worker starts would inherit it.
        for number in HANDLED:
            default = number in (signal.SIGTERM, signal.SIGCHLD)
            signal.signal(number, signal.SIG_DFL if default else _nothing)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = begin(context)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the child ends here after any error
        traceback.print_exc()
    finally:
        # No atexit functions: they belong to the parent, and would run twice.
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(status)


def _nothing(*_: object) -> None:
    """Ignore a signal that the supervisor handles."""


def reexec(context: WorkerContext, command: list[str], folder: str) -> int:
    """Exec `command`, which finds its context in an environment variable. Does not return."""
    os.chdir(folder)
    # These signals may come before the new program has its handlers, and must not end it: SIGUSR2
    # from the supervisor, the others from an operator. `work` sets the handlers.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    environment = {**os.environ, VARIABLE: context.to_environment()}
    os.execve(command[0], command, environment)


def work(app: ServedApp, options: Options, context: WorkerContext) -> int:
    """Serve as a worker until told to stop. Returns the exit status."""
    from ember.server.workers.worker import AppServer

    faulthandler.register(signal.SIGUSR2, context.control_socket, all_threads=True)
    if not faulthandler.is_enabled():
        faulthandler.enable(context.control_socket)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _nothing)
    own((signal.SIGINT, signal.SIGHUP, signal.SIGUSR2))
    try:
        AppServer(app, options, context).run()
    except StartError as error:
        context.report("failed", str(error))
        if options.debug:
            traceback.print_exc()
        return NOT_STARTED
    except SystemExit as end:
        context.report("failed", f"SystemExit({end.code!r}){where(end)}")
        raise
    except BaseException as error:
        logger.exception("a worker ended")
        context.report("failed", f"{type(error).__name__}: {error}{where(error)}")
        return 1
    return 0


def where(error: BaseException) -> str:
    """The file and line of an error: the last frame outside Ember and the standard library."""
    ours = (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__), "<frozen")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(ours) or "site-packages" in frame.filename:
            return f" ({frame.filename}:{frame.lineno})"
    return ""
