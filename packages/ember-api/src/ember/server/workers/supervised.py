"""A server with several workers: `app.run(workers=4)` starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

from ember.server.certificates import certificates
from ember.server.options import StartError
from ember.server.workers.announce import announce
from ember.server.workers.context import WorkerContext
from ember.server.workers.scoreboard import Scoreboard
from ember.server.workers.sockets import open_sockets
from ember.server.workers.spawn import reexec, work
from ember.server.workers.supervisor import Supervisor
from ember.server.workers.system import WorkerSystem

if TYPE_CHECKING:
    from ember.server.interfaces import ServedApp
    from ember.server.options import Options


class SupervisedServer:
    """`workers` processes that serve one application, and their supervisor. With `run` this process
    is the supervisor; `start` forks one. Raises StartError if it cannot bind an address."""

    def __init__(self, app: ServedApp, options: Options, workers: int) -> None:
        if app.server is not None:
            raise StartError("this application is being served already; stop it first")
        # Errors are found before anything is forked.
        if options.debug:
            app.debug = True
        try:
            certificates(options)
        except ValueError as error:
            raise StartError(f"TLS: {error}") from None
        self.app = app
        self.options = options
        self.board = Scoreboard(workers)
        #: The supervisor has no slot.
        self.slot = -1
        self.started = self.draining = False
        self.loop_name = ""
        self._sockets = open_sockets(options)
        #: (host, port) of every TCP socket, the path of a unix socket
        self.addresses = self._sockets.addresses
        self._pid = 0
        self._control_socket: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def connections(self) -> int:
        """How many connections are open now, of all workers."""
        return self.board.connections

    @property
    def requests(self) -> int:
        """How many requests came since the start, to all workers."""
        return self.board.requests

    def run(self) -> None:
        """Be the supervisor, until SIGINT or SIGTERM. Raises StartError."""
        from ember.server.workers.terminals import remember_terminal

        remember_terminal()
        # The command line of this program: a reload runs it again, up to its app.run().
        command = [sys.executable, *sys.orig_argv[1:]]
        folder = os.getcwd()

        def begin_reexec(context: WorkerContext) -> int:
            return reexec(context, command, folder)

        again = sys.executable and self.board.fd is not None
        self._supervise(
            Supervisor(
                self.board,
                self._sockets,
                self.app.limits,
                self._work,
                begin_reexec=begin_reexec if again else None,
                replace=self.options.necromancer,
                routes=self.app.routes,
                on_ready=self._ready,
            )
        )

    def _supervise(self, supervisor: Supervisor) -> None:
        supervisor.run()

    def _work(self, context: WorkerContext) -> int:
        return work(self.app, self.options, context)

    def _ready(self, loop: str) -> None:
        if self.options.startup_message:
            announce(self.addresses, self.options, loop, self.board.workers)

    # -- with a supervisor of its own ---------------------------------------------------------

    def start(self) -> None:
        """Fork a supervisor; returns when all workers serve. Raises StartError.

        It ends with this process. SIGHUP replaces the workers, but does not load new code: the
        program does more than to serve, and cannot be run again.
        """
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._detached(theirs)
        theirs.close()
        self._sockets.close()
        self._pid, self._control_socket = pid, ours
        said = ours.makefile("r").readline()
        if not said.startswith("ready"):
            self._join()
            raise StartError(said.strip() or "the supervisor ended before the workers served")
        self.loop_name = said.partition(" ")[2].strip()
        self.started = True
        self.app.server = self

    def _detached(self, control_socket: socket.socket) -> None:
        status = 1
        try:

            def ready(loop: str) -> None:
                self._ready(loop)
                control_socket.sendall(f"ready {loop}\n".encode())

            Supervisor(
                self.board,
                self._sockets,
                self.app.limits,
                self._work,
                replace=self.options.necromancer,
                routes=self.app.routes,
                on_ready=ready,
                system=WorkerSystem(control_socket),
            ).run()
            status = 0
        except StartError as error:
            with contextlib.suppress(OSError):
                control_socket.sendall(f"{' '.join(str(error).split())}\n".encode())
        finally:
            os._exit(status)

    def stop(self) -> None:
        """Finish the requests in flight and end; returns when the server has ended."""
        self.draining = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            self.wait()

    def wait(self) -> None:
        """Wait until the server has ended."""
        self._join()
        self.app.server = None

    def _join(self) -> None:
        with self._lock:
            if self._pid:
                os.waitpid(self._pid, 0)
                self._pid = 0
            if self._control_socket is not None:
                self._control_socket.close()
                self._control_socket = None
