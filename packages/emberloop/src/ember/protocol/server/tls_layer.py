"""TLS on any asyncio loop: `TLSMachine` between a plain transport and `HTTPProtocol`.

asyncio has TLS of its own, and says nothing of a handshake that failed, hangs up on who speaks
plain HTTP, and waits for the goodbye of a peer that is silent. What is decided here instead is in
`tls_machine.py`, as on the compiled loop; this carries it out.
"""

from __future__ import annotations

import asyncio

from ember._build import PURE
from ember.protocol.server.hangups import half_close
from ember.protocol.server.tls_machine import TLSMachine

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.server.pure.asyncio_protocol import HTTPProtocol
else:
    from ember.protocol.server._endpoints import HTTPProtocol
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from ember.protocol.server.tls import CurrentContext

__all__ = ["TLSLayer"]

#: Seconds that a connection without a handshake goes on reading, so that its end is no reset.
LINGER_TIMEOUT = 2.0


class TLSLayer(TLSMachine, asyncio.BufferedProtocol):
    """A protocol to the transport below, a transport to the protocol above."""

    def __init__(self, above: HTTPProtocol, context: ssl.SSLContext | CurrentContext) -> None:
        super().__init__(context)
        self._above = above
        self._below: asyncio.Transport
        #: the transport below takes no more for now
        self._paused = False
        #: the protocol above ends its side only, and closes itself
        self._half = False
        self._linger: asyncio.TimerHandle | None = None

    # -- from below ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = transport  # type: ignore[assignment]
        self._above.connection_made(self)  # type: ignore[arg-type]
        self.start()

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for both: what is sealed is copied before it is opened.
        self.plain = self._above.get_buffer(sizehint)
        return self.plain  # type: ignore[no-any-return]

    def buffer_updated(self, nbytes: int) -> None:
        self.received(bytes(self.plain[:nbytes]))

    def eof_received(self) -> bool:
        if self._linger is not None:
            return False
        if self.finished and not self.postponed:
            self.tell_eof()  # the protocol above may linger, too
        self.peer_fin()
        return True  # the protocol above closes when it has answered what it can

    def connection_lost(self, exc: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self.lost()
        self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        self._paused = True
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self.take_more()

    # -- from above: a transport --------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """See `asyncio.WriteTransport`, as for the other methods here."""
        self.seal(data if type(data) is bytes else bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._half = True
        self.end(True)

    def close(self) -> None:
        self._half = False
        if not self.said:
            self.end(False)
        elif self._linger is None:
            self._below.close()

    def abort(self) -> None:
        super().abort()
        self._below.abort()

    def is_closing(self) -> bool:
        return self.ending or self._below.is_closing()

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def pause_reading(self) -> None:
        self.pause_input()

    def resume_reading(self) -> None:
        self.resume_input()

    def get_write_buffer_size(self) -> int:
        return self.waiting + self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self.ssl_object
        if name == "sslcontext":
            return self.ssl_object.context
        return self._below.get_extra_info(name, default)

    # -- what the machine decides -------------------------------------------------------------

    def connection(self) -> Any:
        return self._above.connection

    def send(self, data: bytes) -> None:
        if not self._below.is_closing():
            self._below.write(data)

    def takes_no_more(self) -> bool:
        return self._paused

    def pause_below(self) -> None:
        self._below.pause_reading()

    def resume_below(self) -> None:
        if not self._below.is_closing():
            self._below.resume_reading()

    def close_below(self, linger: bool) -> None:
        if self._below.is_closing():
            return
        if not linger:
            self._below.close()
        elif half_close(self._below) and not self._half:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER_TIMEOUT, self._below.close)

    def go_on_later(self) -> None:
        asyncio.get_running_loop().call_soon(self.go_on)

    def deliver(self, size: int) -> None:
        self._above.buffer_updated(size)

    def tell_established(self) -> None:
        self._above.greeted()

    def tell_eof(self) -> None:
        if not self._above.eof_received():
            self.close()

    def tell_hangup(self) -> None:
        self._above._hangup()

    def tell_writable(self) -> None:
        self._above.resume_writing()
