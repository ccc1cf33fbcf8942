"""The part of `Ember` that runs it: start, serve, stop, observe, test."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Unpack

    from ember.application.hooks import Lifecycle
    from ember.cache import Cache
    from ember.concurrency.background import Pending
    from ember.concurrency.threads import ThreadPool
    from ember.limits import ServerLimits
    from ember.observability.observability import Observability
    from ember.protocol.telemetry.observer import Recorder
    from ember.request import Request
    from ember.routing.route import Route
    from ember.server.interfaces import RunningServer, ServedApp
    from ember.testing import TestClient
    from ember.testing.interfaces import TestedApp
    from ember.testing.options import ClientOptions

    Path = str | os.PathLike[str]
    Password = str | bytes | Callable[[], str | bytes]

C = TypeVar("C", bound="Callable[[], Any]")

logger = logging.getLogger("ember.server")


class Serving:
    """The methods of `Ember` for running it: `run`, `stop`, `test_client`, health and metrics."""

    limits: ServerLimits
    lifecycle: Lifecycle
    server: RunningServer | None
    #: The connected caches of its routes, each once.
    _open: list[Cache]
    _pending: Pending
    _pool: ThreadPool | None
    _observability: Observability

    if TYPE_CHECKING:

        @property
        def routes(self) -> list[Route]:
            """Every route."""

    def freeze(self) -> None:
        """Compile the routes."""
        raise NotImplementedError

    async def startup(self) -> None:
        """Open the log, run the start hooks, enter the lifespans, compile the routes, connect the
        caches."""
        self._observability.start()
        await self.lifecycle.start()
        try:
            self.freeze()
            self._open = list(dict.fromkeys(r.cache for r in self.routes if r.cache is not None))
            for cache in self._open:
                await cache.connect()
        except BaseException:
            await self.lifecycle.stop()
            raise

    async def shutdown(self, until: float | None = None) -> None:
        """Finish the work after responses, run the stop hooks, exit the lifespans, close the
        caches, end the threads. The work after responses may last until `until` on the loop's clock
        (default: for `shutdown_timeout`)."""
        seconds = self.limits.shutdown_timeout
        if until is not None:
            import asyncio

            seconds = max(0.0, until - asyncio.get_running_loop().time())
        try:
            await self._pending.wait_idle(seconds)
        finally:
            try:
                await self.lifecycle.stop()
            finally:
                try:
                    await self._close_caches()
                finally:
                    pool, self._pool = self._pool, None
                    if pool is not None:
                        pool.close()
                    self._observability.stop()

    async def _close_caches(self) -> None:
        """Close all caches, also if one of them fails."""
        while self._open:
            cache = self._open.pop()
            try:
                await cache.close()
            except Exception:
                logger.exception("closing %r failed", cache)

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        workers: int | None = None,
        debug: bool = False,
        block: bool = True,
        necromancer: bool = True,
        startup_message: bool = True,
        thread_pool_workers: int | None = None,
        uds: str | os.PathLike[str] | None = None,
        fd: int | None = None,
        ssl_certfile: str | os.PathLike[str] | None = None,
        ssl_keyfile: str | os.PathLike[str] | None = None,
        ssl_ca_certs: str | os.PathLike[str] | None = None,
        http2: bool = False,
        loop: str = "auto",
        io_uring_num_bufs: int = 256,
        io_uring_buf_size: int = 8192,
        reload: bool = False,
        ssl_keyfile_password: Password | None = None,
        ssl_client_cert: str | None = None,
        ssl_certs: Mapping[str, Path | tuple[Path, Path | None]] | None = None,
        uds_mode: int | None = None,
    ) -> None:
        """Serve until SIGINT or SIGTERM; `block=False` serves in a thread until `stop()`.

        - `host`, `port`: where to listen; port 0 takes a free port. `uds`: a unix socket instead.
          `fd`: an inherited listening socket instead. Without `uds` and `fd`, sockets of systemd
          (LISTEN_FDS) replace host and port. `uds_mode`: permissions of the unix socket, such as
          0o660.
        - `workers`: the number of processes that serve. 1: this process. More: this process is
          their supervisor. None: one for each CPU that this process may use (affinity, CPU quota);
          with `block=False`: one thread of this process. Platforms without fork have always one.
        - `debug`: as in Ember(debug=True); start errors show their traceback.
        - `thread_pool_workers`: threads for `def` handlers (default 40).
        - `ssl_certfile`, `ssl_keyfile`, `ssl_keyfile_password`: serve https (PEM; TLS 1.2 and 1.3).
          `ssl_certs`: more certificates by host name, `{"shop.example": (certfile, keyfile)}`.
          Files that change are read again within ten seconds, and on SIGHUP.
        - `ssl_ca_certs`: ask clients for a certificate signed by one of these CAs; see
          `request.client_cert`. `ssl_client_cert`: "required" (the default then) or "optional".
        - `loop`: "auto", "io_uring", "epoll", "uvloop" or "asyncio".
        - `io_uring_num_bufs`, `io_uring_buf_size`: the number (rounded up to a power of two) and
          size in bytes of the receive buffers of the ring. All connections of a worker share them.
          Memory is used when a buffer is used first. Other loops have one buffer.
        - `necromancer`: respawn workers that die.

        SIGTERM and SIGINT finish the requests in flight and end; a second one ends at once. SIGHUP
        replaces the workers one by one with workers that run the current code of this program (with
        `block=False`: without new code). SIGUSR1 reopens log files.

        A start error (a port in use, an invalid route) prints one line on stderr and exits with
        status 1; with `block=False` it raises StartError.
        """
        from ember.server.run import Options, run

        run(
            cast("ServedApp", self),
            Options(
                host=host,
                port=port,
                workers=workers,
                debug=debug,
                startup_message=startup_message,
                thread_pool_workers=thread_pool_workers,
                uds=uds,
                fd=fd,
                ssl_certfile=ssl_certfile,
                ssl_keyfile=ssl_keyfile,
                ssl_ca_certs=ssl_ca_certs,
                http2=http2,
                loop=loop,
                io_uring_num_bufs=io_uring_num_bufs,
                io_uring_buf_size=io_uring_buf_size,
                reload=reload,
                ssl_keyfile_password=ssl_keyfile_password,
                ssl_client_cert=ssl_client_cert,
                ssl_certs=ssl_certs,
                necromancer=necromancer,
                uds_mode=uds_mode,
            ),
            block=block,
        )

    # -- observability ------------------------------------------------------------------------

    @property
    def observer(self) -> Recorder | None:
        """Counts and logs every request; None if neither metrics nor an access log were asked
        for. See `ember.protocol.Application`."""
        return self._observability.observer

    @observer.setter
    def observer(self, observer: Recorder | None) -> None:
        self._observability.observer = observer

    def add_readiness_check(self, check: C, name: str | None = None, *, timeout: float = 5.0) -> C:
        """Let `/readyz` call `check()`; it responds 503 while `check` raises or returns False.

        - `check`: a function without parameters; `async def` runs on the loop, `def` in a thread.
        - `name`: the name in the response; default: the name of the function.
        - `timeout`: seconds after which the check has failed (default 5).

        Also a decorator. Raises TypeError or ValueError for an invalid check.
        """
        self._observability.health.add(check, name, timeout)
        return check

    def add_metrics(self, path: str = "/metrics", *, middlewares: Iterable[Any] = ()) -> None:
        """Count every request, and serve the sums of all workers at `path` for Prometheus.

        `middlewares` are around that route, inside those of the application. A GET route of the
        application with the same path replaces it. Raises RouteError for an invalid path.
        """
        self._observability.add_metrics(path, middlewares)

    def set_access_log(self, access_log: bool | str | os.PathLike[str]) -> None:
        """Write a line for every request, as `Ember(access_log=...)` does; False: stop writing.

        Call it before the server starts. Raises TypeError for any other value.
        """
        self._observability.set_access_log(access_log)

    def reopen_logs(self) -> None:
        """Reopen the file of the access log, after another program has moved it (log rotation).

        SIGUSR1 does this in every worker."""
        self._observability.reopen_logs()

    def identify(self, request: Request | None) -> tuple[str, str | None]:
        """The id of a request that the connection refuses; see `ember.protocol.Application`."""
        return self._observability.identify(request)

    # -- tests --------------------------------------------------------------------------------

    def test_client(self, **options: Unpack[ClientOptions]) -> TestClient:
        """A test client in the same process: `async with app.test_client() as client: ...`."""
        from ember.testing import TestClient

        return TestClient(cast("TestedApp", self), **options)

    def stop(self) -> None:
        """Stop the server: finish the requests in flight and run the stop hooks.

        It returns when the server has ended; called from a handler it returns at once.
        """
        from ember.server.run import stop

        stop(cast("ServedApp", self))
