"""How a worker process begins: as a fork of the supervisor, or as its program run anew."""

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
from ember.server.workers.forks import own
from ember.server.workers.place import VARIABLE, Place

if TYPE_CHECKING:
    from ember.server.interfaces import ServedApp
    from ember.server.options import Options

logger = logging.getLogger("ember.server")

#: The exit status of a worker that could not start, and said why.
NOT_STARTED = 3
#: Signals that the supervisor handles; a worker begins without its handlers.
HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


def fork(
    place: Callable[[socket.socket], Place],
    begin: Callable[[Place], int],
    close: Iterable[socket.socket],
) -> tuple[int, socket.socket]:
    """Run `begin(place(line))` in a child, whose exit status it gives; its pid and our end of the
    line. The child closes `close`: what belongs to the parent. Raises OSError."""
    ours, theirs = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            _in_child(place(theirs), begin, (ours, *close), before)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    ours.setblocking(False)
    return pid, ours


def _in_child(
    place: Place,
    begin: Callable[[Place], int],
    close: Iterable[socket.socket],
    mask: Iterable[int],
) -> None:
    status = 1
    try:
        for sock in close:
            sock.close()
        signal.set_wakeup_fd(-1)
        # Not SIG_IGN, which the programs that a worker starts would inherit.
        for number in HANDLED:
            default = number in (signal.SIGTERM, signal.SIGCHLD)
            signal.signal(number, signal.SIG_DFL if default else _nothing)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = begin(place)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
    finally:
        # What the program registered with atexit is the parent's: it would be done twice.
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(status)


def _nothing(*_: object) -> None:
    """The supervisor sees to it."""


def run_anew(place: Place, command: list[str], folder: str) -> int:
    """Become `command`, which finds its place by an environment variable. Does not return."""
    os.chdir(folder)
    # What has no handler yet when it comes must not end the program: the stack that a supervisor
    # asks for, and what an operator sends to the whole group. Each gets a handler in `work`.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    environment = {**os.environ, VARIABLE: place.to_environment()}
    os.execve(command[0], command, environment)


def work(app: ServedApp, options: Options, place: Place) -> int:
    """Be a worker: serve until told to stop. The exit status."""
    from ember.server.workers.worker import AppServer

    faulthandler.register(signal.SIGUSR2, place.control, all_threads=True)
    if not faulthandler.is_enabled():
        faulthandler.enable(place.control)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _nothing)
    own((signal.SIGINT, signal.SIGHUP, signal.SIGUSR2))
    try:
        AppServer(app, options, place).run()
    except StartError as error:
        place.say("failed", str(error))
        if options.debug:
            traceback.print_exc()
        return NOT_STARTED
    except SystemExit as end:
        place.say("failed", f"SystemExit({end.code!r}){where(end)}")
        raise
    except BaseException as error:
        logger.exception("a worker ended")
        place.say("failed", f"{type(error).__name__}: {error}{where(error)}")
        return 1
    return 0


def where(error: BaseException) -> str:
    """The place in a program that an error came from: the last frame that is not Ember's or the
    standard library's."""
    ours = (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__), "<frozen")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(ours) or "site-packages" in frame.filename:
            return f" ({frame.filename}:{frame.lineno})"
    return ""
