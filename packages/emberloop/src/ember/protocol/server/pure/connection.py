"""One HTTP/1.1 connection: bytes in, one exchange after the other, bytes out. Knows no socket."""

from __future__ import annotations

import contextvars

from ember.exceptions import ProtocolError
from ember.protocol.http1.pure.parser import Head, HeadParser
from ember.protocol.server.pure.deadlines import NEVER, Deadlines
from ember.protocol.server.pure.ending import Ending
from ember.protocol.server.pure.exchange import Exchange
from ember.protocol.server.pure.handed_over import HandedOver
from ember.protocol.server.pure.output import HTTPOutput
from ember.protocol.server.refusal import identify, log_refusal, render_error
from ember.protocol.server.states import State, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ember.limits import ServerLimits
    from ember.protocol.server.application import Application
    from ember.protocol.server.codec import Codec, Output
    from ember.protocol.server.pure.interfaces import Owner, Transport
    from ember.protocol.server.tls import TLSInfo
    from ember.protocol.telemetry.pure.observer import Observer


class Connection(HTTPOutput, HandedOver, Ending):
    """The server's side of a connection.

    The owner calls `feed`, `eof`, `hangup`, `lost`, `pause_writing` and `resume_writing`; the
    connection calls the application and writes to `transport`. One request is in the application
    at a time; bytes behind it wait, at most `limits.max_pipelined` of them, then the client waits.
    Those that need no waiting are answered at once, until the connection has had its share of the
    turn.
    """

    def __init__(
        self,
        app: Application,
        transport: Transport,
        owner: Owner,
        *,
        limits: ServerLimits | None = None,
        client: tuple[str, int] | None = None,
        scheme: str = "http",
    ) -> None:
        self.app = app
        #: told of every exchange; None: nobody is
        self.observer: Observer | None = getattr(app, "observer", None)
        self.limits = app.limits if limits is None else limits
        self.client = client
        self.scheme = scheme
        #: what TLS knows of the peer
        self.tls: TLSInfo | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        #: what every request starts from, so that none sees what another one has set
        self.context = contextvars.copy_context()
        self.deadlines = Deadlines(self)
        self.buffer = bytearray()
        self.requests = 0
        #: nothing more is read or answered
        self.closing = False
        self.is_lost = False
        #: the peer has said that it will send no more
        self.ended = False
        #: it has said so, or has gone; what it sent before may still wait in the kernel
        self.hung_up = False
        #: has had its share of this turn; goes on in the next one
        self.yielded = False
        self.working_since = 0.0
        #: the server is going down: the response in flight is the last one
        self.draining = False
        #: the next response is the last one
        self.retiring = False
        self._transport = transport
        self._owner = owner
        self._parser = HeadParser(self.limits)
        self._exchange: Exchange | None = None
        #: makes the codec that takes over, once it may; and what speaks here instead of HTTP/1.1
        self.successor: Callable[[Output], Codec] | None = None
        self.codec: Codec | None = None
        self._counts = True
        self.strict = True
        self._processing = False
        self._reading = True
        self._paused = False
        self._resumed: asyncio.Future[None] | None = None
        self._batch: list[bytes] = []
        self._batched = 0
        self._written = 0
        #: bytes that were given to be sent
        self.written = 0

    def attach(self, loop: asyncio.AbstractEventLoop, counts: bool = True) -> None:
        """Deadlines hold, and handlers may wait, from now on. `counts`: as a connection, for the
        observer."""
        self.loop = loop
        self._counts = counts
        if self.observer is not None:
            self.observer.attach(loop)
            if counts:
                self.observer.opened()
        self.deadlines.attach(loop, self.limits)
        self.deadlines.expect("head", self.limits.header_timeout)

    @property
    def state(self) -> State:
        """What it is about; see `states.py`."""
        exchange = self._exchange
        return state_of(
            lost=self.is_lost,
            closing=self.closing,
            upgraded=self.codec is not None,
            started=self._parser.started or bool(self.buffer),
            exchange=exchange is not None,
            body=exchange is not None and exchange.body_reader.decoder is not None,
            answered=exchange is not None and exchange.answered,
        )

    # -- from below ---------------------------------------------------------------------------

    def feed(self, data: bytes | memoryview) -> None:
        """Bytes arrived."""
        if self.closing:
            return  # what still comes is only read so that the response is not lost to a reset
        if self.codec is not None:
            self.feed_codec(data)
            return
        self.buffer += data
        if not self.yielded:
            self.working_since = 0.0  # a callback of its own
        self.process()

    def pause_writing(self) -> None:
        """The peer takes less than is sent: producers wait, and no further request begins."""
        self._paused = True
        if self.codec is not None:
            self.call_codec(self.codec.pause_writing)
        self.deadlines.watch_backlog()

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._paused = False
        self._wake()
        if self.codec is not None:
            self.call_codec(self.codec.resume_writing)
        else:
            self.process()

    def _wake(self) -> None:
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    # -- one exchange after the other ---------------------------------------------------------

    def process(self) -> None:
        """Go on with what is in the buffer, as far as that is possible now."""
        if self._processing or self.codec is not None:
            return
        if self.yielded:
            self.after_input()
            return
        self._processing = True
        try:
            while not self.closing:
                exchange = self._exchange
                if exchange is not None:
                    if exchange.body_reader.pump():
                        continue
                    if not exchange.over:
                        if exchange.answered and self.ended:
                            self.close()  # the rest of the request's body will never come
                        break
                    self._exchange = None
                elif self.successor is not None:
                    break
                elif self.draining or (self.ended and not self.buffer):
                    self.close()
                elif self._paused or (self.buffer and self.exhausted()):
                    break
                else:
                    head = self._parser.feed(self.buffer)
                    if head is None:
                        if self.ended:
                            self.close()
                        break
                    self._begin(head)
        except ProtocolError as error:
            self.refuse(error)
        except BaseException:
            self.abort()  # what was under way may be lost, and what follows must not be read
            raise
        finally:
            self._processing = False
            self.flush()
        self.after_input()

    def _begin(self, head: Head) -> None:
        self.requests += 1
        # What was awaited has come: the next wait, if only for the next request, is a new one.
        self.deadlines.read = NEVER
        self.deadlines.phase = ""
        exchange = self._exchange = Exchange(self, head)
        exchange.begin()
        if self.ended or self.hung_up:
            self.peer_ended()

    def answered(self, keep_alive: bool) -> None:
        """The response of the current exchange is complete."""
        self.deadlines.handler = NEVER
        if self.closing:
            return
        if not keep_alive:
            self.close()
        elif not self._processing:
            exchange = self._exchange
            assert exchange is not None
            idle = not (self.buffer or self.ended or self.draining or self.successor)
            if exchange.over and idle:
                self._exchange = None
                self.after_input()
            else:
                # Not from here: this is still the context of the request that was answered.
                assert self.loop is not None
                self.loop.call_soon(self.process, context=self.context.copy())

    def refuse(self, error: ProtocolError, method: str = "") -> None:
        """Answer a broken request and end the connection: where it continues is not known.
        `method`: of a request that was not read here."""
        exchange = self._exchange
        identity = identify(self.app, None if exchange is None else exchange.request)
        log_refusal(self.peer, error, identity)
        if exchange is not None and exchange.answered:
            # The response is out; what follows it cannot be told any more.
            self.close()
        elif exchange is not None and exchange.started:
            exchange.abandon()
            self.abort()
        elif not self.closing:
            if exchange is not None:
                exchange.abandon()
            if not method:
                method = self._parser.method if exchange is None else exchange.method
            mark = self.written
            self.write(render_error(error, method, identity))
            if exchange is not None:
                exchange.refused(error.status)
            elif self.observer is not None:
                known = "" if identity is None else identity[0]
                self.observer.refused(self.client, error.status, self.written - mark, known)
            self._close(linger=True)

    @property
    def peer(self) -> str:
        """The client's address, for the log."""
        return "client" if self.client is None else f"{self.client[0]}:{self.client[1]}"

    # -- to below -----------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection after what was written."""
        exchange = self._exchange
        unread = bool(self.buffer) or self.codec is not None
        unread = unread or (exchange is not None and not exchange.body_reader.body.complete)
        self._close(linger=unread and not self.ended)

    def _close(self, *, linger: bool) -> None:
        if not self.closing:
            self.closing = True
            self.deadlines.read = self.deadlines.handler = NEVER
            self.buffer.clear()
            self.flush()
            self._owner.close_connection(linger)
            self.deadlines.watch_backlog()

    def abort(self) -> None:
        """End the connection now, so that the peer does not take it for the end of a message."""
        self.closing = True
        self.deadlines.read = self.deadlines.handler = NEVER
        self.buffer.clear()
        self._owner.abort_connection()

    def drain_and_close(self) -> None:
        """Finish what is in flight, then close; at once when nothing is."""
        self.draining = True
        if self.codec is not None:
            self.call_codec(self.codec.drain)
        elif self._exchange is None or self._exchange.answered:
            self.close()

    # -- backpressure and time ----------------------------------------------------------------

    def after_input(self) -> None:
        """Decide whether the client may send, and how long it may take."""
        if self.closing or self.codec is not None:
            return
        exchange = self._exchange
        if self.successor is not None and exchange is None:
            self.start_codec(self.successor)
            return
        deadlines = self.deadlines
        most = self.limits.max_pipelined
        if exchange is None:
            wanted = not (self._paused or self.yielded) or len(self.buffer) < most
            if self._paused or self.yielded:
                deadlines.read = NEVER
                deadlines.phase = ""
            elif self._parser.started or self.buffer:
                if deadlines.phase != "head":
                    deadlines.expect("head", self.limits.header_timeout)
            elif self.requests and deadlines.phase != "idle":
                deadlines.expect("idle", self.limits.keep_alive_timeout)
        elif exchange.body_reader.decoder is not None:
            wanted = exchange.body_reader.wanted and not (self.yielded and len(self.buffer) >= most)
            if not wanted:
                exchange.body_reader.hold()
                deadlines.read = NEVER
                deadlines.phase = ""
            elif deadlines.phase != "body":
                deadlines.expect("body", exchange.body_reader.patience())
        else:
            # A body over its limit leaves a rest that nobody will take.
            wanted = exchange.body_reader.body.complete and len(self.buffer) < most
            deadlines.read = NEVER
            deadlines.phase = ""
            deadlines.watch_backlog()
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
                self._owner.watch_peer()

    # -- for the deadlines --------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether something may be written without a new deadline."""
        return self.closing or self._paused or self._exchange is not None

    @property
    def backlog(self) -> tuple[int, int]:
        """Bytes that the peer has not taken, and those that it has."""
        unsent = self._owner.unsent()
        return unsent, self._written - unsent

    def handler_is_late(self) -> None:
        """The handler had its time."""
        if self._exchange is not None:
            self._exchange.time_out()

    def peer_is_late(self) -> None:
        """The peer did not send in time what was expected of it."""
        if self.codec is not None:
            self.call_codec(self.codec.timed_out)
        elif self.deadlines.phase == "body":
            assert self._exchange is not None
            self.refuse(ProtocolError(408, self._exchange.body_reader.verdict()))
        elif self._parser.started:
            self.refuse(ProtocolError(408, "the request head did not arrive in time"))
        else:
            self.close()
