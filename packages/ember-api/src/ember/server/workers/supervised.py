"""Several workers as one server: what `app.run(workers=4)` starts."""

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
from ember.server.workers.board import Board
from ember.server.workers.place import Place
from ember.server.workers.sockets import open_sockets
from ember.server.workers.spawn import run_anew, work
from ember.server.workers.supervisor import Supervisor
from ember.server.workers.system import System

if TYPE_CHECKING:
    from ember.server.interfaces import ServedApp
    from ember.server.options import Options


class SupervisedServer:
    """`workers` processes that serve one application, and their supervisor: this process with
    `run`, one of its own with `start`. Raises StartError for an address that cannot be had."""

    def __init__(self, app: ServedApp, options: Options, workers: int) -> None:
        if app.server is not None:
            raise StartError("this application is being served already; stop it first")
        # What cannot work is found before anything is forked.
        if options.debug:
            app.debug = True
        try:
            certificates(options)
        except ValueError as error:
            raise StartError(f"TLS: {error}") from None
        self.app = app
        self.options = options
        self.board = Board(workers)
        #: No slot is this process's.
        self.slot = -1
        self.started = self.draining = False
        self.loop_name = ""
        self._sockets = open_sockets(options)
        #: (host, port) of every TCP socket, the path of a unix socket
        self.addresses = self._sockets.addresses
        self._pid = 0
        self._line: socket.socket | None = None
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
        """Supervise in this process, until SIGINT or SIGTERM. Raises StartError."""
        from ember.server.workers.terminals import remember_terminal

        remember_terminal()
        # The program as it was started: a reload runs it again, up to its app.run().
        command = [sys.executable, *sys.orig_argv[1:]]
        folder = os.getcwd()

        def anew(place: Place) -> int:
            return run_anew(place, command, folder)

        again = sys.executable and self.board.fd is not None
        self._supervise(
            Supervisor(
                self.board,
                self._sockets,
                self.app.limits,
                self._work,
                begin_anew=anew if again else None,
                replace=self.options.necromancer,
                routes=self.app.routes,
                on_ready=self._ready,
            )
        )

    def _supervise(self, supervisor: Supervisor) -> None:
        supervisor.run()

    def _work(self, place: Place) -> int:
        return work(self.app, self.options, place)

    def _ready(self, loop: str) -> None:
        if self.options.startup_message:
            announce(self.addresses, self.options, loop, self.board.workers)

    # -- with a supervisor of its own ---------------------------------------------------------

    def start(self) -> None:
        """Fork a supervisor; returns when all workers serve. Raises StartError.

        It ends with this process. Its SIGHUP replaces the workers, but not their code: running the
        program anew would not only serve.
        """
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._detached(theirs)
        theirs.close()
        self._sockets.close()
        self._pid, self._line = pid, ours
        said = ours.makefile("r").readline()
        if not said.startswith("ready"):
            self._join()
            raise StartError(said.strip() or "the supervisor ended before the workers served")
        self.loop_name = said.partition(" ")[2].strip()
        self.started = True
        self.app.server = self

    def _detached(self, line: socket.socket) -> None:
        status = 1
        try:

            def ready(loop: str) -> None:
                self._ready(loop)
                line.sendall(f"ready {loop}\n".encode())

            Supervisor(
                self.board,
                self._sockets,
                self.app.limits,
                self._work,
                replace=self.options.necromancer,
                routes=self.app.routes,
                on_ready=ready,
                system=System(line),
            ).run()
            status = 0
        except StartError as error:
            with contextlib.suppress(OSError):
                line.sendall(f"{' '.join(str(error).split())}\n".encode())
        finally:
            os._exit(status)

    def stop(self) -> None:
        """Drain and end; returns when it is over."""
        self.draining = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            self.wait()

    def wait(self) -> None:
        """Until the server has ended."""
        self._join()
        self.app.server = None

    def _join(self) -> None:
        with self._lock:
            if self._pid:
                os.waitpid(self._pid, 0)
                self._pid = 0
            if self._line is not None:
                self._line.close()
                self._line = None
