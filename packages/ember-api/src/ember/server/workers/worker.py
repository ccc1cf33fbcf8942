"""One process that serves an application: alone, or as one of several workers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ember.concurrency.executor import PoolExecutor
from ember.concurrency.threads import THREAD_NAME, ThreadPool
from ember.server.options import StartError
from ember.server.processes.forks import disown, own
from ember.server.processes.orders import Order
from ember.server.workers.announce import announce, report_ready
from ember.server.workers.context import Balance
from ember.server.workers.ending import HURRY, LEAST_FOR_HOOKS, START_END, Guard, in_time, stop_time
from ember.server.workers.heartbeat import Heartbeat
from ember.server.workers.loops import new_loop
from ember.server.workers.scoreboard import Scoreboard, State
from ember.server.workers.sockets import Sockets, open_sockets, why
from ember.server.workers.stacks import log_running
from ember.server.workers.starting import Start

if TYPE_CHECKING:
    from ember.limits import ServerLimits
    from ember.protocol import Server
    from ember.protocol.server.tls import ServerTLS
    from ember.server.interfaces import ServedApp
    from ember.server.options import Options
    from ember.server.workers.context import WorkerContext

logger = logging.getLogger("ember.server")

#: Seconds for one more request on an idle connection of a worker that is replaced; at most half of
#: `shutdown_timeout`.
RETIREMENT = 2.0


class AppServer:
    """One application, served by this process."""

    def __init__(
        self, app: ServedApp, options: Options, context: WorkerContext | None = None
    ) -> None:
        options.check()
        self.app = app
        self.options = options
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = threading.Event()
        self._stop: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._leaving = False
        self._sockets: Sockets | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._told = 0
        self._guard = Guard()
        #: The running start hooks, and the time by which the server has to stop.
        self._start: Start | None = None
        self._stopping = False
        self._signalled = 0
        self._stop_by = 0.0
        #: Which event loop serves: io_uring, epoll, uvloop or asyncio.
        self.loop_name = ""
        #: The scoreboard of all workers, and the slot of this process.
        self.board = Scoreboard(1) if context is None else context.board
        self.slot = 0 if context is None else context.slot
        #: The start hooks have finished; the server is stopping and should get no new requests.
        self.started = self.draining = False

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """(host, port) of every TCP socket, the path of a unix socket; empty before it listens."""
        return self._server.addresses if self._server else []

    @property
    def connections(self) -> int:
        """How many connections are open now, of this process."""
        return self._server.connections if self._server else 0

    @property
    def limits(self) -> ServerLimits:
        """The limits of the application."""
        return self.app.limits

    @property
    def requests(self) -> int:
        """How many requests came to this process since its start."""
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
            disown()
            self._guard.leave_to_program()

    def _end(self) -> None:
        self.app.server = None
        self.board.slots[self.slot].end()
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
                self._guard.release()
                started.set()

        thread = threading.Thread(target=serve_in_thread, name="ember-server", daemon=True)
        thread.start()
        started.wait()
        if failure:
            thread.join()
            raise failure[0]

    def stop(self) -> None:
        """Drain and end; from another thread, also wait for the end. A worker asks its supervisor,
        which stops all workers."""
        loop, event = self._loop, self._stop
        if loop is None or event is None:
            return
        if self._context is not None:
            self._context.report("stop")
            return
        loop.call_soon_threadsafe(event.set)
        current = threading.current_thread()
        # The loop, and handlers in threads, cannot wait for their own end.
        waits = current is not self._thread and not current.name.startswith(THREAD_NAME)
        if waits and not self._ended.wait(stop_time(self.app.limits) + HURRY):
            log_running(logger, "the server did not end in time:", loop=loop)

    async def _main(self, started: Callable[[], object]) -> None:
        app, options = self.app, self.options
        self._loop = asyncio.get_running_loop()
        self._thread = threading.current_thread()
        self._guard.watch(self._loop)
        self._loop.set_default_executor(PoolExecutor(app._threads))
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        if options.debug:
            app.debug = True
        try:
            ThreadPool(options.thread_pool_workers)
        except ValueError as error:
            raise StartError(str(error)) from None
        app.thread_pool_workers = options.thread_pool_workers
        tls = self._tls()
        slot = self.board.slots[self.slot]
        slot.begin(os.getpid())
        heartbeat = Heartbeat(slot, self, self._context)
        self._install_signals()
        try:
            start = self._begin_start(self._stop)
            if not await start.run(app.startup()):
                return
            try:
                try:
                    self._server = await self._listen(tls)
                except OSError as error:
                    raise StartError(why(error, options)) from None
                try:
                    hooks = app.lifecycle.started()
                    if await start.run(hooks):
                        self.started = True
                        self._guard.started()
                        slot.state = State.READY
                        self._say_ready(self._server)
                        started()
                        await self._stop.wait()
                finally:
                    await self._drain(self._server)
            finally:
                until = max(self._stop_by, self._loop.time() + LEAST_FOR_HOOKS)
                pool = app._pool
                await in_time(until, "the application's end", app.shutdown(self._stop_by))
                self._name_threads(pool)
        finally:
            heartbeat.stop()

    def _begin_start(self, stop: asyncio.Event) -> Start:
        """Start the clock of `start_timeout`. If a hook blocks the loop, the supervisor kills the
        worker; without a supervisor, a guard ends the process, if the server is its main thread."""
        limit = self.app.limits.start_timeout
        self._start = start = Start(limit, stop)
        main = threading.current_thread() is threading.main_thread()
        if limit is not None and self._context is None and main:
            self._guard.started_within(limit + HURRY * 2, start.late)
        return start

    async def _drain(self, server: Server) -> None:
        """Finish the requests in flight, in at most `shutdown_timeout` seconds."""
        self.draining = True
        self.board.slots[self.slot].state = State.DRAINING
        limit = self.app.limits.shutdown_timeout
        loop = asyncio.get_running_loop()
        self._stop_by = loop.time() + limit
        if self._leaving:
            # Other workers accept new connections. Requests that are on their way here are served.
            server.stop_accepting()
            server.retire()
            self._stop_streams()
            retirement = min(RETIREMENT, limit / 2)
            await self._unless_hurried(server.drained(retirement))
            limit -= retirement
        elif self.app.limits.drain_delay and self._told:
            # Load balancers learn from /readyz to send no more requests.
            server.retire()
            await self._unless_hurried(asyncio.sleep(self.app.limits.drain_delay))
            self._stop_by = loop.time() + limit
        self._stop_streams()
        if self._sockets is not None:
            self._sockets.unlink()
        # A request may not end although it was cancelled at the limit.
        await in_time(self._stop_by + HURRY / 2, "the end of all requests", server.close(limit))

    def _name_threads(self, pool: ThreadPool | None) -> None:
        """Log the calls in threads that the end of the process will interrupt."""
        left = () if pool is None else pool.running()
        if left:
            log_running(logger, "%d calls in threads have not ended:", len(left), threads=left)

    async def _unless_hurried(self, waiting: Awaitable[object]) -> None:
        assert self._hurry is not None
        tasks = (asyncio.ensure_future(waiting), asyncio.ensure_future(self._hurry.wait()))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop_streams(self) -> None:
        # Endless streams would otherwise delay the end until the timeout.
        if "ember.responses.sse" in sys.modules:
            from ember.responses.sse import stop_streams

            stop_streams()

    # -- pieces -------------------------------------------------------------------------------

    async def _listen(self, tls: ServerTLS | None) -> Server:
        from ember.protocol import serve

        context = self._context
        if context is not None:
            share = Balance(self.board, self.board.slots[self.slot])
            return await serve(self.app, sockets=context.sockets, share=share, ssl=tls)
        self._sockets = open_sockets(self.options)
        try:
            return await serve(self.app, sockets=self._sockets.sockets, ssl=tls)
        except OSError:
            self._sockets.close()
            self._sockets.unlink()
            raise

    def _tls(self) -> ServerTLS | None:
        from ember.server.certificates import certificates

        try:
            return certificates(self.options)
        except ValueError as error:
            raise StartError(f"TLS: {error}") from None

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        try:
            loop, self.loop_name = new_loop(self.options.loop, self.options.buffers)
            return loop
        except RuntimeError as error:
            raise StartError(str(error)) from None

    def _say_ready(self, server: Server) -> None:
        if self._context is not None:
            report_ready(self._context, self.loop_name)
        if self.options.startup_message:
            announce(server.addresses, self.options, self.loop_name)

    # -- signals ------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[], object]] = {signal.SIGTERM: self._on_signal}
        # A terminal sends SIGINT to all its processes: only the supervisor handles it.
        if self._context is None:
            handlers[signal.SIGINT] = self._on_signal
        else:
            loop.add_reader(self._context.control_socket, self._on_message, self._context)
        if hasattr(signal, "SIGUSR1"):
            handlers[signal.SIGUSR1] = self._reopen_logs
            handlers[signal.SIGHUP] = self._on_hangup
        for number, handler in handlers.items():
            try:
                loop.add_signal_handler(number, handler)
                if handler == self._on_signal:
                    # The loop may be blocked: this handler runs anyway.
                    signal.signal(number, self._noted)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._on_signal))
        own(handlers)

    def _noted(self, number: int, frame: object) -> None:
        if self._context is None:
            self._signalled += 1
        else:
            self._signalled = 1  # the supervisor handles a second one
        self._guard.within(HURRY * 2 if self._signalled > 1 else self._stop_time())

    def _stop_time(self) -> float:
        if self._start is not None and self._start.running:
            return START_END
        return stop_time(self.app.limits) + HURRY

    def _on_signal(self) -> None:
        if self._context is None or not self._told:
            self._stop_now()

    def _stop_now(self) -> None:
        """Stop. The second time: drop the requests in flight."""
        self._told += 1
        if threading.current_thread() is threading.main_thread():
            self._guard.within(HURRY * 2 if self._told > 1 else self._stop_time())
        if self._start is not None and not self._stopping:
            self._start.cancel()
        self._stopping = True
        assert self._stop is not None
        assert self._hurry is not None
        # Two orders may arrive together: then it has to hurry before it has begun to stop.
        if self._stop.is_set() or self._told > 1:
            self._hurry.set()
        self._stop.set()
        if self._told > 1 and self._server is not None:
            self._server.abort()

    def _reopen_logs(self) -> None:
        from ember.server.workers.logs import reopen_logs

        reopen_logs()

    def _on_hangup(self) -> None:
        from ember.server.workers.terminals import terminal_is_gone

        if self._context is not None:
            return  # the supervisor handles it
        if terminal_is_gone():
            self._on_signal()
        elif not self.reload_tls():
            logger.warning("SIGHUP: one process cannot replace itself; workers=2 or more can")

    def _on_message(self, context: WorkerContext) -> None:
        """Handle the orders of the supervisor, or its end."""
        assert self._stop is not None
        orders = context.orders()
        if orders is None:
            return
        if not orders:
            asyncio.get_running_loop().remove_reader(context.control_socket)
            logger.error("worker %d: its supervisor is gone; it ends too", context.slot)
            self._stop.set()
        if Order.ABORT.value in orders:
            self._told = max(self._told, 1)
            self._stop_now()
        elif Order.STOP.value in orders:
            if not self._told:
                self._stop_now()
        elif Order.RETIRE.value in orders:
            self._leaving = True
            self._guard.within(self._stop_time())
            self._stop.set()
