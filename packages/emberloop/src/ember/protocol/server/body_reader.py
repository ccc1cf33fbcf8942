"""The body of a request, from the connection's buffer to its reader, or to nowhere."""

from __future__ import annotations

import time

from ember.exceptions import ClientDisconnected, ProtocolError
from ember.protocol.http1.body import HIGH_WATER, LOW_WATER, Body
from ember.protocol.http1.chunked import ChunkedDecoder, LengthDecoder
from ember.protocol.http1.render import CONTINUE
from ember.protocol.message.pure.request import too_large
from ember.protocol.server.leaving import BUDGET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.http1.framing import Framing
    from ember.protocol.server.pure.interfaces import Answering, Reading

#: Bytes of an unread body that are read and dropped so that the connection can go on.
DRAIN_LIMIT = 65536
#: Bytes of a body that are decoded at once: from so many on, where they come in chunks, which may
#: be of one byte each.
PIECE = 65536
FIRST_PIECE, LEAST_PIECE = 1024, 64


class RequestBodyReader:
    """Decodes the body of one exchange, as fast as it is read."""

    __slots__ = (
        "_connection",
        "_credit",
        "_cut",
        "_dropped",
        "_exchange",
        "_framing",
        "_piece",
        "_received",
        "_since",
        "body",
        "decoder",
    )

    def __init__(self, connection: Reading, exchange: Answering, framing: Framing) -> None:
        self._connection = connection
        # Until the end of the body has come: then nothing here asks for it, and they would keep
        # each other alive.
        self._exchange: Answering | None = exchange
        self._framing = framing
        self._received = 0
        self._dropped = 0
        self._piece = FIRST_PIECE if framing.chunked else PIECE
        #: the peer ended before the end of the body
        self._cut = False
        # Seconds that the peer may still take, and since when it is taking them (None: it is not
        # waited for).
        self._credit = connection.limits.body_rate_grace
        self._since: float | None = None
        #: None when the end has come, or will never be looked for
        self.decoder: LengthDecoder | ChunkedDecoder | None = None
        if framing.chunked:
            self.decoder = ChunkedDecoder(connection.limits)
        elif framing.length:
            self.decoder = LengthDecoder(framing.length)
        else:
            self._exchange = None
        self.body = Body(None if self.decoder is None else self._on_read)

    @property
    def wanted(self) -> bool:
        """Whether the client may send more of the body now."""
        exchange = self._exchange
        return exchange is None or exchange.answered or self.body.size < HIGH_WATER

    @property
    def can_be_left(self) -> bool:
        """Whether the connection can go on although the handler reads no further. Depends on what
        it has read, never on what has arrived: the same bytes get the same response however they
        are split.
        """
        framing, body = self._framing, self.body
        # Was not told to go on, and may or may not send the body (RFC 9110 section 10.1.1).
        if framing.expects_continue and not body.taken:
            return False
        if self.decoder is None and not body.complete:
            return False  # over its limit
        # An unread rest is dropped when it is small; a large one is not worth the wait.
        return framing.chunked or framing.length - body.given <= DRAIN_LIMIT

    def leave(self) -> None:
        """The response is complete: what is unread is dropped."""
        self._dropped = self.body.size
        self.body.drop()

    def pump(self) -> bool:
        """Move what is in the connection's buffer; whether to go on at once.

        Raises `ProtocolError` (400, 431).
        """
        decoder, connection, exchange = self.decoder, self._connection, self._exchange
        if decoder is None or exchange is None or not self.wanted or connection.exhausted():
            return False
        chunked = self._framing.chunked
        began = time.monotonic() if chunked else 0.0
        data = decoder.read(connection.buffer, self._piece)
        if chunked:
            # As large as goes with the connection's share of a turn.
            if time.monotonic() - began > BUDGET / 2:
                self._piece = max(self._piece // 4, LEAST_PIECE)
            else:
                self._piece = min(self._piece * 2, PIECE)
        if exchange.answered:
            self._dropped += len(data)
            if self._dropped > DRAIN_LIMIT:
                connection.close()
                return False
        elif not self._deliver(data, exchange.max_body_size, decoder.remaining):
            return False
        if decoder.done:
            self.decoder = self._exchange = None
            self.body.finish()
            return True
        if data:
            self._earn(len(data))
            connection.deadlines.expect("body", self.patience())
        elif connection.ended and not self._cut:
            self._cut = True
            self.body.fail(
                lambda: ClientDisconnected("the client left before the body was complete")
            )
            connection.cut_short()
        return bool(data)

    # -- the least rate -----------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds that the peer has from now on for its next bytes."""
        limits, loop = self._connection.limits, self._connection.loop
        if loop is None or limits.min_body_rate is None:
            return limits.body_timeout
        now = loop.time()
        if self._since is not None:
            self._credit -= now - self._since
        self._since = now
        return min(limits.body_timeout, max(self._credit, 0.0))

    def hold(self) -> None:
        """The peer is not to send now: this time is not its own."""
        if self._since is not None:
            self.patience()
            self._since = None

    def _earn(self, size: int) -> None:
        # At the least rate a byte earns the time that it takes. What came fast is no right to be
        # slow for ever: there is never more to spend than may pass between two pieces.
        limits = self._connection.limits
        if limits.min_body_rate is not None:
            self.patience()
            most = max(limits.body_rate_grace, limits.body_timeout)
            self._credit = min(self._credit + size / limits.min_body_rate, most)

    def verdict(self) -> str:
        """Why the peer was too slow, in the words of a 408."""
        loop, rate = self._connection.loop, self._connection.limits.min_body_rate
        if loop is not None and rate is not None and self._since is not None:
            self.patience()
            if self._credit <= 0:
                return f"the request body arrives too slowly: at least {rate} bytes a second"
        return "the request body did not arrive in time"

    def release(self) -> None:
        """The connection is gone."""
        self._exchange = None
        self.body.release()

    def _deliver(self, data: bytes, most: int, announced: int) -> bool:
        self._received += len(data)
        # Content-Length was looked at before: this is the chunked body, as soon as the size of a
        # chunk says that it crosses.
        if self._framing.chunked and self._received + announced > most:
            self.decoder = self._exchange = None
            self._connection.buffer.clear()
            self.body.drop()
            self.body.fail(lambda: too_large(most))
            return False
        self.body.put(data)
        return True

    def _on_read(self) -> None:
        """The handler asks for the body."""
        framing, connection, exchange = self._framing, self._connection, self._exchange
        if exchange is None:
            return
        # Only now is it certain that the body is wanted (RFC 9110 section 10.1.1).
        if framing.expects_continue:
            framing.expects_continue = False
            if self._received == 0 and not connection.buffer and not exchange.started:
                connection.write(CONTINUE)
        try:
            # Not by process(): it may be what is running the handler right now.
            while self.body.size <= LOW_WATER and self.pump():
                pass
        except ProtocolError as error:
            connection.refuse(error)
        except BaseException:
            connection.abort()  # a part of the body may be lost
            raise
        else:
            connection.after_input()
