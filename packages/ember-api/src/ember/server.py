"""`app.run`: from options to a process that serves, and back to exit status 0."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from ember.hooks import Events
from ember.router import RouteError
from ember.threads import THREAD_NAME, ThreadPool
from ember.workers.board import Board, State

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from ember.application import Ember
    from ember.protocol import Server
    from ember.protocol.tls import ServerTLS

    Path = str | os.PathLike[str]

logger = logging.getLogger("ember.server")

#: Seconds between two heartbeats.
HEARTBEAT = 1.0
LOOPS = ("auto", "io_uring", "epoll", "uvloop", "asyncio")


class StartError(Exception):
    """Why a server does not start, in one sentence, with what to do about it."""


class Options(NamedTuple):
    """What `app.run` and `ember start` were asked for; `Ember.run` explains each."""

    host: str | None = "127.0.0.1"
    port: int = 8000
    workers: int | None = None
    debug: bool = False
    startup_message: bool = True
    thread_pool_workers: int | None = None
    uds: str | os.PathLike[str] | None = None
    fd: int | None = None
    ssl_certfile: str | os.PathLike[str] | None = None
    ssl_keyfile: str | os.PathLike[str] | None = None
    ssl_ca_certs: str | os.PathLike[str] | None = None
    http2: bool = False
    loop: str = "auto"
    io_uring_num_bufs: int = 256
    io_uring_buf_size: int = 8192
    reload: bool = False
    ssl_keyfile_password: str | bytes | Callable[[], str | bytes] | None = None
    ssl_client_cert: str | None = None
    ssl_certs: Mapping[str, Path | tuple[Path, Path | None]] | None = None

    def check(self) -> None:
        """Raises StartError for what this version cannot do or what contradicts itself."""
        workers = self.workers
        if workers is not None and (type(workers) is not int or workers < 1):
            raise StartError(f"workers={workers!r}: expected a whole number, 1 or more")
        if workers is not None and workers > 1:
            raise StartError(
                f"workers={workers}: this version serves with one process; use workers=1, "
                f"or start several behind a load balancer"
            )
        if self.http2:
            raise StartError("http2=True: this version speaks HTTP/1.1 only")
        if self.reload:
            raise StartError("reload=True: this version does not reload; start it again")
        if self.loop not in LOOPS:
            raise StartError(f'loop="{self.loop}": expected one of {", ".join(LOOPS)}')
        if self.uds is not None and self.fd is not None:
            raise StartError("uds= and fd= exclude each other; give one of them")
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise StartError(f"port={self.port!r}: expected a number from 0 to 65535")
        for name in ("io_uring_num_bufs", "io_uring_buf_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise StartError(f"{name}={value!r}: expected a whole number, 1 or more")
        if not self.ssl_certfile and any(
            getattr(self, name) is not None for name in Options._fields if name.startswith("ssl_")
        ):
            raise StartError("TLS needs ssl_certfile= (and ssl_keyfile=, unless it is in there)")


class Recorder:
    """Catches `app.run()` while the CLI imports a module that calls it at its top level."""

    def __init__(self) -> None:
        self.active = False
        self.calls: list[tuple[Ember, Options]] = []

    def __enter__(self) -> Recorder:
        self.active = True
        self.calls.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.active = False


recorder = Recorder()


def run(app: Ember, options: Options, *, block: bool = True) -> None:
    """Serve `app`; with `block` until a signal, and exit status 1 when it cannot start."""
    if recorder.active:
        recorder.calls.append((app, options))
        return
    if not block:
        AppServer(app, options).start()
        return
    try:
        AppServer(app, options).run()
    except StartError as error:
        if options.debug:
            raise
        print(f"ember: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def stop(app: Ember) -> None:
    """End the server that serves `app`; nothing happens when none does."""
    if app.server is not None:
        app.server.stop()


class AppServer:
    """One application, served by this process."""

    def __init__(self, app: Ember, options: Options) -> None:
        options.check()
        self.app = app
        self.options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = threading.Event()
        self._stop: asyncio.Event | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._signals = 0
        #: Which event loop serves: io_uring, epoll, uvloop or asyncio.
        self.loop_name = ""
        #: What the workers of this server say of themselves, and which slot is this process's.
        self.board = Board(1)
        self.slot = 0
        #: Its start hooks have finished; it is about to stop: it answers, but should get no more.
        self.started = self.draining = False

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """(host, port) of every TCP socket, the path of a unix socket; empty before it listens."""
        return self._server.addresses if self._server else []

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return self._server.connections if self._server else 0

    @property
    def requests(self) -> int:
        """How many requests came since the start."""
        return self._server.requests if self._server else 0

    def reload_tls(self) -> bool:
        """Read the certificates again; see `Server.reload_tls`."""
        return self._server is not None and self._server.reload_tls()

    # -- lifecycle ----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve in this thread until told to stop. Raises StartError."""
        self._claim()
        try:
            with asyncio.Runner(loop_factory=self._new_loop) as runner:
                runner.run(self._main(lambda: None))
        finally:
            self._end()

    def _end(self) -> None:
        self.app.server = None
        self._ended.set()

    def _claim(self) -> None:
        if self.app.server is not None:
            raise StartError("this application is being served already; stop it first")
        self.app.server = self

    def start(self) -> None:
        """Serve in a thread; returns when it listens. Raises StartError."""
        self._claim()
        started = threading.Event()
        failure: list[BaseException] = []

        def serve_in_thread() -> None:
            try:
                with asyncio.Runner(loop_factory=self._new_loop) as runner:
                    runner.run(self._main(started.set))
            except BaseException as error:
                failure.append(error)
                if started.is_set():
                    logger.exception("the server ended")
            finally:
                self._end()
                started.set()

        thread = threading.Thread(target=serve_in_thread, name="ember-server", daemon=True)
        thread.start()
        started.wait()
        if failure:
            thread.join()
            raise failure[0]

    def stop(self) -> None:
        """Drain and end; from another thread, wait until it is over."""
        loop, event = self._loop, self._stop
        if loop is None or event is None:
            return
        loop.call_soon_threadsafe(event.set)
        current = threading.current_thread()
        # Whoever is part of what ends cannot wait for its end: the loop, and a handler in a thread.
        if current is not self._thread and not current.name.startswith(THREAD_NAME):
            self._ended.wait()

    async def _main(self, started: Callable[[], object]) -> None:
        app, options = self.app, self.options
        self._loop = asyncio.get_running_loop()
        self.board.slots[self.slot].begin(os.getpid())
        self._thread = threading.current_thread()
        self._stop = asyncio.Event()
        if options.debug:
            app.debug = True
        try:
            ThreadPool(options.thread_pool_workers)
        except ValueError as error:
            raise StartError(str(error)) from None
        app.thread_pool_workers = options.thread_pool_workers
        context = self._tls()
        self._install_signals()
        await self._hooks(app.startup())
        try:
            try:
                self._server = await self._listen(context)
            except OSError as error:
                raise StartError(_why(error, options)) from None
            try:
                await self._hooks(app.lifecycle.run(Events.AFTER_SERVER_START))
                self.started = True
                if options.startup_message:
                    self._announce(self._server)
                beat = self._beat(self._server)
                self.board.slots[self.slot].state = State.READY
                started()
                await self._stop.wait()
                beat.cancel()
            finally:
                await self._drain(self._server)
        finally:
            await app.shutdown()
            self.board.slots[self.slot].end()

    def _beat(self, server: Server) -> asyncio.Task[None]:
        """Say once a second, on the board, that the loop turns."""
        slot = self.board.slots[self.slot]
        before = slot.requests

        async def beat() -> None:
            while True:
                slot.heartbeat = time.monotonic_ns()
                slot.connections = server.connections
                slot.requests = before + server.requests
                await asyncio.sleep(HEARTBEAT)

        return asyncio.get_running_loop().create_task(beat())

    async def _hooks(self, hooks: Awaitable[None]) -> None:
        """Run start hooks; a StartError of theirs is their own one line, others are explained."""
        try:
            await hooks
        except StartError:
            raise
        except RouteError as error:
            raise StartError(str(error)) from error
        except Exception as error:
            logger.exception("a start hook failed")
            raise StartError(f"a start hook failed: {type(error).__name__}: {error}") from error

    async def _drain(self, server: Server) -> None:
        self.draining = True
        self.board.slots[self.slot].state = State.DRAINING
        # Endless streams would otherwise hold the server until the time-out.
        if "ember.sse" in sys.modules:
            from ember.sse import stop_streams

            stop_streams()
        await server.close(self.app.limits.shutdown_timeout)

    # -- pieces -------------------------------------------------------------------------------

    async def _listen(self, tls: ServerTLS | None) -> Server:
        from ember.protocol import serve

        options = self.options
        return await serve(
            self.app,
            host=options.host,
            port=options.port,
            sock=self._inherited(),
            uds=None if options.uds is None else os.fspath(options.uds),
            ssl=tls,
        )

    def _inherited(self) -> socket.socket | None:
        fd = self.options.fd
        if fd is None:
            return None
        import socket

        try:
            return socket.socket(fileno=fd)
        except OSError as error:
            raise StartError(f"fd={fd} is not a socket: {error.strerror}") from None

    def _tls(self) -> ServerTLS | None:
        from ember.certificates import certificates

        try:
            return certificates(self.options)
        except ValueError as error:
            raise StartError(f"TLS: {error}") from None

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        try:
            loop, self.loop_name = new_loop(self.options.loop)
        except RuntimeError as error:
            raise StartError(str(error)) from None
        return loop

    def _install_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._on_signal)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._on_signal))
        if self.options.ssl_certfile is not None and hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self.reload_tls)

    def _on_signal(self) -> None:
        self._signals += 1
        if self._stop is not None:
            self._stop.set()
        if self._signals > 1 and self._server is not None:
            self._server.abort()  # asked twice: now

    def _announce(self, server: Server) -> None:
        from ember.terminal import Style

        style = Style(sys.stderr)
        scheme = "https" if self.options.ssl_certfile else "http"
        where = [
            address if isinstance(address, str) else f"{scheme}://{_host(address[0])}:{address[1]}"
            for address in server.addresses
        ]
        # stderr: what the program prints is its own.
        print(
            f"{style.accent('Ember')} serves {style.strong(' and '.join(where))}"
            f"{style.dim(f'  {self.loop_name} loop, pid {os.getpid()}; Ctrl+C stops')}",
            file=sys.stderr,
            flush=True,
        )


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _why(error: OSError, options: Options) -> str:
    import errno
    import socket

    reason = error.strerror or str(error)
    if isinstance(error, socket.gaierror):
        return f"{options.host} is not an address: {reason}"
    if error.errno == errno.EADDRINUSE and options.uds is None:
        return f"{reason}; stop it or choose another port"
    return reason


def new_loop(name: str) -> tuple[asyncio.AbstractEventLoop, str]:
    """A loop by name, "auto" for what EMBER_LOOP says or the best that works, and its name.

    RuntimeError says why a loop cannot be had.
    """
    from ember.eventloop import choose, new_event_loop

    if name == "auto":
        return new_event_loop(), choose().name
    before = os.environ.get("EMBER_LOOP")
    os.environ["EMBER_LOOP"] = name
    try:
        return new_event_loop(), name
    except RuntimeError as error:
        raise RuntimeError(str(error).replace(f"EMBER_LOOP={name}", f'loop="{name}"')) from None
    finally:
        if before is None:
            del os.environ["EMBER_LOOP"]
        else:
            os.environ["EMBER_LOOP"] = before
