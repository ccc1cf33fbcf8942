"""What the end of the peer's stream means for the request in flight, and what one connection may
take of a turn of the loop: see `_ending.pyx`, which does the same."""

from __future__ import annotations

import logging
import time

from ember.protocol.http1.render import CONTINUE
from ember.protocol.server.leaving import BUDGET, PROBE_AFTER, PROBE_TURNS
from ember.protocol.server.pure.interfaces import GONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Callable

    from ember.protocol.server.codec import Codec, Output
    from ember.protocol.server.pure.deadlines import Deadlines
    from ember.protocol.server.pure.exchange import Exchange
    from ember.protocol.server.pure.interfaces import Owner, Transport
    from ember.protocol.telemetry.pure.observer import Observer


log = logging.getLogger("ember.protocol")


class Ending:
    """The part of a connection that knows its peer's end."""

    # Of the connection:
    loop: asyncio.AbstractEventLoop | None
    context: contextvars.Context
    written: int
    ended: bool
    hung_up: bool
    yielded: bool
    working_since: float
    closing: bool
    is_lost: bool
    deadlines: Deadlines
    buffer: bytearray
    observer: Observer | None
    codec: Codec | None
    successor: Callable[[Output], Codec] | None
    _counts: bool
    _exchange: Exchange | None
    _asked_for: Exchange | None = None
    _asked_at = 0

    def process(self) -> None:
        """Go on with what was received."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send `data`."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection after what was written."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the connection now."""
        raise NotImplementedError

    def call_codec(self, method: Callable[[], None]) -> None:
        """Call a method of the codec."""
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError

    # -- the end of the peer ------------------------------------------------------------------

    def eof(self) -> None:
        """The peer will send no more, and all that it sent is here. Whole requests are still
        answered."""
        if self.ended or self.is_lost:
            return
        self.ended = True
        if self.codec is not None:
            self.call_codec(self.codec.eof_received)
            return
        self.process()  # closes when nothing is left to do; a body cut short is told
        self.peer_ended()

    def hangup(self) -> None:
        """The peer will send no more, or has gone; what it sent may still wait in the kernel. Over
        TLS, where a goodbye may have come before, this is one more reason to ask."""
        if not (self.hung_up or self.is_lost):
            self.hung_up = True
            self.peer_ended()

    def cut_short(self) -> None:
        """The peer ended in the middle of a request's body."""
        if self._exchange is not None:
            self._check_end(self._exchange, 0)

    def peer_ended(self) -> None:
        """The request in flight has a peer that sends no more. Once its response has begun, and in
        HTTP/1.0, that is a client that left. Otherwise it may be one that waits: it is asked."""
        exchange = self._exchange
        if self.closing or exchange is None or exchange.answered:
            return
        if self.loop is None:
            exchange.client_left()
        elif exchange.started or exchange.minor == 0:
            self._check_end(exchange, 0)
        else:
            self._asked_for, self._asked_at = exchange, self.written
            self.deadlines.ask_within(PROBE_AFTER)

    def ask_peer(self) -> None:
        """Send something that every client ignores (RFC 9110 section 15.2): one that has gone
        answers with a reset."""
        exchange, self._asked_for = self._asked_for, None
        if self.closing or exchange is None or exchange.answered or exchange.started:
            return
        # Whatever else was sent since asks the same.
        if self._exchange is exchange and self.written == self._asked_at:
            self.write(CONTINUE)

    def _check_end(self, exchange: Exchange, turns: int) -> None:
        """A handler that does not wait for anything has the turns that it needs to end."""
        if self.closing or exchange.answered:
            return
        if turns >= PROBE_TURNS or self.loop is None:
            exchange.client_left()
            if exchange.cancelled and not exchange.started:
                # No reset: what was answered before may still be on its way.
                self.close()
        else:
            self.loop.call_soon(
                self._check_end,
                exchange,
                turns + 1 if exchange.began else 0,
                context=self.context.copy(),
            )

    def end_unanswered(self) -> None:
        """A request will have no response."""
        if self.ended and (self._exchange is None or not self._exchange.started):
            self.close()
        else:
            self.abort()

    def lost(self) -> None:
        """The connection is gone; the last call from below."""
        if self.is_lost:
            return
        self.is_lost = self.closing = True
        self.buffer.clear()
        self.deadlines.detach()
        self._wake()
        if self._exchange is not None:
            self._exchange.client_left()
            self._exchange.notify(True)
            # Its handler may go on. They would keep each other alive.
            self._exchange.release()
            self._exchange = None
        self._asked_for = None
        self._transport: Transport = GONE
        self._owner: Owner = GONE
        if self.observer is not None and self.loop is not None and self._counts:
            self.observer.closed()
        self.successor = None
        if self.codec is not None:
            codec, self.codec = self.codec, None
            self.call_codec(codec.connection_lost)

    def is_stuck(self, backlog: int) -> None:
        """The peer read nothing of the backlog for longer than `write_timeout`."""
        log.warning("%s: read nothing of %d bytes in time; reset", self.peer, backlog)
        self.abort()

    @property
    def peer(self) -> str:
        """The client's address, for the log."""
        raise NotImplementedError

    @property
    def unread(self) -> bool:
        """Whether bytes of the peer wait to be read."""
        return self._owner.unread()

    # -- its share of a turn ------------------------------------------------------------------

    def exhausted(self) -> bool:
        """Asked between two pieces of work: whether the rest has to wait for the next turn, so that
        other connections get theirs in between."""
        if self.yielded:
            return True
        if self.loop is None:
            return False
        now = time.monotonic()
        if self.working_since == 0.0:
            self.working_since = now
        elif now - self.working_since > BUDGET:
            self.yielded = True
            self.loop.call_soon(self._go_on, context=self.context.copy())
            return True
        return False

    def _go_on(self) -> None:
        self.yielded = False
        self.working_since = 0.0
        self.process()
