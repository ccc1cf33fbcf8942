"""Starts child processes: forks of this process, or other programs.

Both have a control socket to their supervisor and stay in its process group, so that a terminal and
`kill` of the group reach them all. The signals that a supervisor handles cannot end a child before
it has handlers of its own; SIGTERM can.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ember.server.processes.forks import own

if TYPE_CHECKING:
    import subprocess

#: The exit status of a child that could not start and has reported why.
NOT_STARTED = 3
#: The signals that supervisors handle. A child starts without these handlers.
HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)
#: The signals that would end a new program before it has set handlers. SIGTERM is not among them.
_HELD = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@contextlib.contextmanager
def _blocked(numbers: Iterable[int]) -> Iterator[set[int]]:
    """Block signals, also in children that are started meanwhile. Gives the mask before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield {int(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(
    run: Callable[[socket.socket], int], fds: Iterable[int], close: Iterable[socket.socket]
) -> tuple[int, socket.socket]:
    """Fork a child that calls `run(control_socket)` and exits with the status that it returns.

    Returns the pid and the supervisor's end of the control socket. The child closes `fds` and
    `close`, which belong to the parent. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with _blocked(HANDLED) as before:
            pid = os.fork()
            if pid == 0:
                _in_child(run, theirs, fds, (ours, *close), before)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return pid, ours


def _in_child(
    run: Callable[[socket.socket], int],
    control_socket: socket.socket,
    fds: Iterable[int],
    close: Iterable[socket.socket],
    mask: Iterable[int],
) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for sock in close:
            sock.close()
        for fd in fds:
            os.close(fd)
        # Not SIG_IGN: the programs that a child starts would inherit it.
        for number in HANDLED:
            default = number in (signal.SIGTERM, signal.SIGCHLD)
            signal.signal(number, signal.SIG_DFL if default else _nothing)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = run(control_socket)
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


def launch(
    command: Callable[[int], list[str]], fds: Iterable[int], **options: Any
) -> tuple[subprocess.Popen[str], socket.socket]:
    """Start `command(N)` as a child; N is the descriptor of its end of the control socket. It calls
    `take_orders` first of all.

    It inherits the descriptors `fds`. `options` are those of Popen. Returns the process and the
    supervisor's end of the control socket. Raises OSError."""
    import subprocess  # workers are forks, and need none

    ours, theirs = socket.socketpair()
    try:
        with theirs, _blocked(_HELD):
            process = subprocess.Popen(
                command(theirs.fileno()), pass_fds=(theirs.fileno(), *fds), text=True, **options
            )
    except BaseException:
        ours.close()
        raise
    ours.setblocking(False)
    return process, ours


def take_orders(control_socket: socket.socket, *, launched: bool = False) -> None:
    """Let the supervisor alone handle what a terminal sends to all processes of a group, and let it
    ask for the stack of this process. Called in the child. `launched`: by `launch`, not by `fork`.
    """
    faulthandler.register(signal.SIGUSR2, control_socket, all_threads=True)
    if not faulthandler.is_enabled():
        faulthandler.enable(control_socket)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _nothing)
    if launched:
        signal.signal(signal.SIGUSR1, _nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    own((signal.SIGINT, signal.SIGHUP, signal.SIGUSR2))


def _nothing(*_: object) -> None:
    """Ignore a signal that the supervisor handles."""
