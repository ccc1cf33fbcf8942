"""TLS on any asyncio loop: OpenSSL between a plain transport and `HTTPProtocol`.

asyncio has TLS of its own, and says nothing of a handshake that failed, hangs up on who speaks
plain HTTP, and waits for the goodbye of a peer that is silent. This does what `_tls.pyx` does on
the compiled loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections import deque

from ember._build import PURE
from ember.exceptions import ProtocolError
from ember.protocol.server.hangups import half_close
from ember.protocol.server.leaving import BUDGET
from ember.protocol.server.tls import fault, shake_hands

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.server.pure.asyncio_protocol import HTTPProtocol
else:
    from ember.protocol.server._endpoints import HTTPProtocol
if TYPE_CHECKING:
    from typing import Any

    from ember.protocol.server.tls import CurrentContext

__all__ = ["TLSLayer"]

log = logging.getLogger("ember.protocol")

#: The type of a client's first record (RFC 8446 section 5.1).
HANDSHAKE = 22
#: Bytes of plain text in one record, at most.
RECORD = 16384
#: Records that are opened between two looks at the clock.
OPENED_AT_ONCE = 8
#: Sealed bytes that are handed over together.
BATCH = 65536
#: Seconds that a connection without a handshake goes on reading, so that its end is no reset.
LINGER_TIMEOUT = 2.0


class TLSLayer(asyncio.BufferedProtocol, asyncio.Transport):
    """A protocol to the transport below, a transport to the protocol above. What the peer does not
    take waits as plain text."""

    def __init__(self, above: HTTPProtocol, context: ssl.SSLContext | CurrentContext) -> None:
        super().__init__()
        self._above = above
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._below: asyncio.Transport
        self._buffer = memoryview(b"")
        self._queue: deque[memoryview] = deque()
        self._waiting = 0
        #: the transport below takes no more for now
        self._paused = False
        self._begun = self._established = False
        #: the peer will send no more
        self._told = False
        #: the protocol above has ended; `_finished`: so has TLS
        self._ending = self._finished = False
        self._half = False
        self._plain = False
        #: the rest of what has come is opened in the next turn; `_held`: nothing is received until
        #: then; `_unwanted`: the protocol above wants nothing; `_ended`: the peer's FIN has come
        self.postponed = self._held = self._unwanted = self._ended = False
        self._linger: asyncio.TimerHandle | None = None

    # -- from below ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = transport  # type: ignore[assignment]
        self._above.connection_made(self)
        connection = self._above.connection
        connection.deadlines.expect("head", connection.limits.handshake_timeout)

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for both: what is sealed is copied before it is opened.
        self._buffer = self._above.get_buffer(sizehint)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._finished or self._told:
            # What still comes is only read so that our last words are not lost. What follows a
            # close_notify means nothing (RFC 8446 section 6.1) and must not be kept.
            return
        if not self._begun:
            self._begun = True
            if self._buffer[0] != HANDSHAKE:
                self._refuse_plain(bytes(self._buffer[: min(nbytes, 5)]))
                return
        self._incoming.write(self._buffer[:nbytes])
        if self.postponed:
            most = self._above.connection.limits.max_pipelined
            if not self._held and self._incoming.pending > most:
                self._held = True
                self._below.pause_reading()
            return
        if not self._established and not self._handshake():
            return
        self._open()
        self._ship()

    def _open(self) -> None:
        """Give the protocol above what has come, as much as a turn has time for."""
        opened, began = 0, 0.0
        while not self._finished and not self._told:
            if opened == OPENED_AT_ONCE:
                opened, now = 0, time.monotonic()
                if not began:
                    began = now
                elif now - began > BUDGET:
                    self.postponed = True
                    asyncio.get_running_loop().call_soon(self._go_on)
                    return
            opened += 1
            try:
                size: Any = self._tls.read(len(self._buffer), self._buffer)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                size = 0
            except ssl.SSLError as error:
                self._broken(error)
                return
            if not size:
                # close_notify (RFC 8446 section 6.1)
                self._told = True
                self._eof()
                return
            self._above.buffer_updated(size)

    def _go_on(self) -> None:
        self.postponed = False
        self._open()
        self._ship()
        if self.postponed:
            return
        if self._held:
            self._held = False
            if not self._unwanted:
                self.resume_reading()
        if self._ended:
            self._ended = False
            self.eof_received()

    def _handshake(self) -> bool:
        """Go on with the handshake. Whether it is done."""
        connection = self._above.connection
        try:
            shake_hands(self._tls)
        except ssl.SSLWantReadError:
            self._ship()
            return False
        except ssl.SSLError as error:
            self._ship()  # the alert
            log.info("%s: the TLS handshake failed: %s", connection.peer, fault(error))
            self._finished = True
            connection.close()
            return False
        self._established = True
        self._ship()
        connection.deadlines.expect("head", connection.limits.header_timeout)
        self._above.greeted()
        return True

    def _refuse_plain(self, begin: bytes) -> None:
        """Not TLS. Someone who speaks HTTP is told where he is."""
        connection = self._above.connection
        log.debug("%s: did not speak TLS", connection.peer)
        self._finished = True
        if begin[:1].isupper():  # a method
            self._plain = True
            error = ProtocolError(400, "this port speaks TLS: use https://", quiet=True)
            connection.refuse(error, "HEAD" if begin == b"HEAD " else "GET")
        else:
            connection.close()

    def _broken(self, error: ssl.SSLError) -> None:
        """What arrived is no TLS, or was tampered with."""
        connection = self._above.connection
        log.info("%s: TLS failed: %s", connection.peer, fault(error))
        self._drop()
        self._ship()
        self._finished = True
        connection.close()

    def eof_received(self) -> bool:
        if self._linger is not None:
            return False
        if self.postponed:
            self._ended = True
        elif not self._told:
            if not self._established and not self._finished:
                log.debug("%s: left during the TLS handshake", self._above.connection.peer)
            # Without a close_notify too: HTTP's own framing tells what was whole.
            self._told = True
            self._eof()
        elif not self._finished:
            self._above._hangup()  # the goodbye came before
        return True  # the protocol above closes when it has answered what it can

    def _eof(self) -> None:
        if not self._above.eof_received():
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._finished = self._ending = True
        self._drop()
        self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        self._paused = True
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()
        if self._queue:
            return
        if self._ending:
            self._say_goodbye()
        elif not self._paused:
            self._above.resume_writing()

    # -- from above ---------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._plain:
            self._below.write(data)
        elif not self._finished:
            view = memoryview(bytes(data))
            if self._established and not self._paused and not self._queue:
                self._seal(view)
            else:
                self._queue.append(view)
                self._waiting += len(view)

    def _seal(self, view: memoryview) -> None:
        """Seal as much as the peer takes; what is left goes to the front of the queue."""
        at = 0
        while at < len(view):
            if self._paused:
                self._queue.appendleft(view[at:])
                self._waiting += len(view) - at
                return
            try:
                at += self._tls.write(view[at : at + RECORD])
            except ssl.SSLError as error:
                self._broken(error)
                return
            if self._outgoing.pending >= BATCH or at == len(view):
                self._ship()

    def _pump(self) -> None:
        while self._queue and not self._paused and not self._finished:
            view = self._queue.popleft()
            self._waiting -= len(view)
            self._seal(view)

    def _ship(self) -> None:
        """Hand over what OpenSSL has for the peer."""
        if self._outgoing.pending and not self._below.is_closing():
            self._below.write(self._outgoing.read())

    def _drop(self) -> None:
        self._queue.clear()
        self._waiting = 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._half = True
        self._end()

    def close(self) -> None:
        said = self._ending and not self._queue
        self._half = False
        if not said:
            self._end()
        elif self._linger is None:
            self._below.close()

    def _end(self) -> None:
        self._ending = True
        if self._queue:
            if self._established and not self._finished:
                return  # goodbye is said when the peer has taken it
            self._drop()
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        failed = self._finished and not self._established and not self._plain
        if not self._finished:
            self._finished = True
            if self._established:
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()  # our close_notify is out; the peer's has not come
                self._ship()
            elif not self._told:
                log.debug("%s: the TLS handshake was not finished", self._above.connection.peer)
        if self._below.is_closing():
            return
        if self._half:
            half_close(self._below)
        elif failed and not self._told:
            # The alert must arrive, and a close with bytes unread would be a reset.
            if not half_close(self._below):
                return
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER_TIMEOUT, self._below.close)
        else:
            self._below.close()

    def abort(self) -> None:
        self._finished = self._ending = True
        self._drop()
        self._below.abort()

    def is_closing(self) -> bool:
        return self._ending or self._below.is_closing()

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def pause_reading(self) -> None:
        self._unwanted = True
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._unwanted = False
        if not self._held:
            self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._waiting + self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._tls.context
        return self._below.get_extra_info(name, default)
