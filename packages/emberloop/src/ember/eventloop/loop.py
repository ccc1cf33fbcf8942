"""The event loop: the compiled core first, the standard library's selector loop behind it.

What the core does itself: callbacks, timers, the turn, TCP and unix stream sockets in both
directions. Everything else (datagrams, pipes, subprocesses, signals, DNS, `sock_*`, TLS on top of
our transports) is the standard library's, on its own epoll selector, which the core watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio import base_events, constants, format_helpers, sslproto
from typing import TYPE_CHECKING, Any

from ember.eventloop._stream import CoreLoop
from ember.eventloop._transport import AcceptListener, SocketTransport

if TYPE_CHECKING:
    import selectors
    import socket
    import ssl
    import traceback


class Loop(CoreLoop, asyncio.SelectorEventLoop):
    """An asyncio event loop over io_uring, or over epoll where io_uring cannot be had.

    `backend` forces one ("io_uring", "epoll"); a forced io_uring that cannot be had raises
    RuntimeError when the loop first runs. `selector` must have a descriptor that can be polled,
    as the standard library's default has on Linux.
    """

    # For its repr, which a loop that could not be made has as well.
    _thread_id: int | None = None

    def __init__(
        self, selector: selectors.BaseSelector | None = None, *, backend: str | None = None
    ) -> None:
        if selector is not None and not hasattr(selector, "fileno"):
            raise TypeError(
                f"{type(selector).__name__} has no descriptor to wait for; use "
                "selectors.EpollSelector or give none"
            )
        if backend not in (None, "io_uring", "epoll"):
            raise ValueError(f"unknown backend {backend!r}; known: 'io_uring', 'epoll', None")
        self._set_backend(backend)
        self._lent: set[int] = set()
        try:
            super().__init__(selector)
        except BaseException:
            # No descriptors, no memory: what there is of it is not to be closed as if it were all.
            self._closed = True
            self._forget_core()
            raise

    def close(self) -> None:
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        self._close_core()
        self._clear_ready()
        super().close()

    # ---- in the child of a fork --------------------------------------------------------------

    def _check_closed(self) -> None:
        if self.forked_from:
            raise RuntimeError(
                f"this event loop belongs to process {self.forked_from}, which forked while it "
                "ran; the child needs one of its own: asyncio.run(main())"
            )
        super()._check_closed()  # type: ignore[misc]

    def _forget_parent(self) -> None:
        """Signals and wake-ups are the parent's: called by the core, in the child."""
        for number in list(self._signal_handlers):  # type: ignore[attr-defined]
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            with contextlib.suppress(ValueError):  # only the main thread may
                signal.signal(number, default)
        self._signal_handlers.clear()  # type: ignore[attr-defined]
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
        # Closed without a word to epoll, which the parent goes on using.
        self._selector.close()  # type: ignore[attr-defined]
        self._ssock.close()  # type: ignore[attr-defined]
        self._csock.close()  # type: ignore[attr-defined]

    # ---- transports ------------------------------------------------------------------------

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> Any:
        self._ensure_fd_no_transport(sock)
        return SocketTransport(self, sock, protocol, waiter, extra, server)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: asyncio.Future[Any] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
    ) -> Any:
        self._ensure_fd_no_transport(rawsock)
        make: Any = sslproto.SSLProtocol  # its stub is narrower than what it takes
        ssl_protocol = make(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        SocketTransport(self, rawsock, ssl_protocol, None, extra, server)
        return ssl_protocol._app_transport

    def _start_serving(
        self,
        protocol_factory: Any,
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
    ) -> None:
        options = sslcontext and (sslcontext, ssl_handshake_timeout, ssl_shutdown_timeout)
        AcceptListener(self, sock, protocol_factory, server, options).begin()

    def _stop_serving(self, sock: socket.socket) -> None:
        listener = self._stream_of(sock.fileno())
        if isinstance(listener, AcceptListener):
            listener.end()
        super()._stop_serving(sock)  # type: ignore[misc]

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        super()._ensure_fd_no_transport(fd)  # type: ignore[misc]
        number = fd if isinstance(fd, int) else int(fd.fileno())
        stream = self._stream_of(number)
        if stream is None or number in self._lent or isinstance(stream, AcceptListener):
            return
        if not stream.closing:
            raise RuntimeError(
                f"File descriptor {fd!r} is used by transport {getattr(stream, 'owner', stream)!r}"
            )

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        fd = transp._sock_fd
        resume_reading = transp.is_reading()
        transp.pause_reading()
        await transp._make_empty_waiter()
        self._lent.add(fd)
        try:
            return await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
        finally:
            self._lent.discard(fd)
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()

    # ---- debug mode, asked by the core -----------------------------------------------------

    def _creation_stack(self) -> traceback.StackSummary:
        # The core has no Python frame: the caller's caller is who scheduled the callback.
        return format_helpers.extract_stack(sys._getframe(1))

    def _note_duration(self, handle: asyncio.Handle, seconds: float) -> None:
        if seconds >= self.slow_callback_duration:
            log = base_events.logger  # type: ignore[attr-defined]
            shown = base_events._format_handle(handle)  # type: ignore[attr-defined]
            log.warning("Executing %s took %.3f seconds", shown, seconds)
