"""The state machine of TLS on a server's connection: OpenSSL between two memory buffers.

One source for both builds and for every loop. `TLSMachine` decides what each input means in each
state (`tls_states.py` names them): what the connection above is told, what the peer is sent, what
is logged, and when the socket is closed. It does no I/O and knows no loop. Two adapters drive it
and carry out what it decides: `_tls.pyx` on the streams of Ember's own loop, `tls_layer.py` on the
transports of any other one.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from ssl import MemoryBIO, SSLError, SSLWantReadError, SSLZeroReturnError
from time import monotonic

from ember.exceptions import ProtocolError
from ember.protocol.server.leaving import BUDGET as _BUDGET
from ember.protocol.server.tls import TLSInfo, fault, shake_hands
from ember.protocol.server.tls_adapter import TLSAdapter
from ember.protocol.server.tls_records import RecordCounter
from ember.protocol.server.tls_states import tls_state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from ember.protocol.server.tls import CurrentContext
    from ember.protocol.server.tls_states import TLSState

__all__ = ["RECORD", "TLSMachine"]

log = logging.getLogger("ember.protocol")

#: Bytes of plain text in one record, at most (RFC 8446 section 5.1).
RECORD = 16384
_RECORD = RECORD
#: The type of a client's first record (RFC 8446 section 5.1).
_HANDSHAKE = 22
#: Records that are opened between two looks at the clock.
_OPENED_AT_ONCE = 8
#: Sealed bytes that are handed over together.
_BATCH = 65536
#: Seconds of a turn in which one connection's records are opened.
_SHARE = _BUDGET
_MANY = 1 << 30


class TLSMachine(TLSAdapter):
    """TLS on one connection.

    Inputs, from below: `start`, `received`, `peer_fin`, `take_more`, `lost`, and `go_on` where
    `go_on_later` asked for it; from above: `seal`, `end`, `abort`, `pause_input`, `resume_input`.
    `plain` is a buffer of at least `RECORD` bytes; it is only used during an input, so many
    connections may share one.
    """

    def __init__(self, context: ssl.SSLContext | CurrentContext) -> None:
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        self.ssl_object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        # The object inside, without a Python frame around each call.
        self.tls: Any = self.ssl_object._sslobj  # type: ignore[attr-defined]
        self.plain: Any = None
        #: plain text that waits for the peer to take what was sealed; None: nothing waits
        self.queue: deque[memoryview] | None = None
        #: bytes in the queue
        self.waiting = 0
        self.begun = self.established = False
        #: the peer will send no more
        self.told = False
        #: the connection above has ended
        self.ending = False
        #: what the peer still sends is to be read and dropped, so that its end is no reset
        self.lingers = False
        #: nothing is sealed any more
        self.finished = False
        #: there was no handshake: what the peer speaks is no TLS, or none that we take
        self.failed = False
        #: what is said is said without TLS
        self.in_clear = False
        #: the adapter was told to close; the socket is gone
        self.said = self.closed = False
        self.records = RecordCounter()
        #: records that are whole and not opened, as far as they were counted
        self.ready = 0
        #: when the first record of this turn was opened, seconds of the monotonic clock
        self.opening_since = 0.0
        #: `turn_began` says something
        self.knows_turns = False
        #: the rest is opened in the next turn; nothing is received until then: there is enough
        self.postponed = self.held = False
        #: the peer's FIN has come, behind what is not opened
        self.fin_waits = False
        #: the connection above wants nothing
        self.unwanted = False

    @property
    def state(self) -> TLSState:
        """What it is about; see `tls_states.py`."""
        return tls_state_of(
            closed=self.closed,
            in_clear=self.in_clear,
            finished=self.finished,
            ending=self.ending,
            peer_ended=self.told,
            established=self.established,
            begun=self.begun,
        )

    # -- from below: what the peer sends ------------------------------------------------------

    def start(self) -> None:
        """There is a connection above: the peer has `handshake_timeout` for the handshake."""
        connection = self.connection()
        connection.deadlines.expect("head", connection.limits.handshake_timeout)

    def received(self, data: bytes) -> None:
        """Bytes came; at least one."""
        if self.finished or self.told:
            # What still comes is only read so that our last words are not lost. What follows a
            # close_notify means nothing (RFC 8446 section 6.1) and must not be kept.
            return
        if not self.begun:
            self.begun = True
            if data[0] != _HANDSHAKE:
                self._refuse_clear(data)
                return
        self.ready += self.records.count(data)
        self.incoming.write(data)
        if self.postponed:
            if not self.held and self.incoming.pending > self.connection().limits.max_pipelined:
                self.held = True
                self.pause_below()
            return
        if not self.knows_turns:
            self.opening_since = 0.0  # an input of its own: nothing else tells turns apart
        self._open()

    def peer_fin(self) -> None:
        """The peer's FIN came: it will send no more, with a close_notify or without."""
        if self.postponed:
            self.fin_waits = True
        elif self.finished:
            self.told = True
        elif self.told:
            self.tell_hangup()  # the close_notify came before
        else:
            if not self.established:
                log.debug("%s: left during the TLS handshake", self.connection().peer)
            # Without a close_notify, too: HTTP's own framing tells what was whole.
            self._peer_ended()

    def go_on(self) -> None:
        """A turn later: open what has had to wait."""
        self.postponed = False
        if self.closed:
            return
        self.opening_since = 0.0
        self._open()
        if self.postponed or self.closed:
            return
        if self.held:
            self.held = False
            if not self.unwanted:
                self.resume_below()
        if self.fin_waits:
            self.fin_waits = False
            self.peer_fin()

    def _peer_ended(self) -> None:
        self.told = True
        if self.ending:
            self.lingers = False  # nothing more will come
        else:
            self.tell_eof()

    def lost(self) -> None:
        """The socket is gone; the last input that means something."""
        self.closed = self.said = self.finished = self.ending = True
        self._drop_queue()

    def _open(self) -> None:
        """Give the connection above what is in the records that are whole, as many as a turn has
        time for."""
        opened = 0
        if not self.established:
            if not self._shake_hands():
                return
            self.ready = _MANY
        # OpenSSL is asked only when a record is whole: an exception for every piece costs more than
        # to count.
        while self.ready > 0 and not self.finished and not self.told:
            if opened == _OPENED_AT_ONCE:
                opened = 0
                if self._over_time():
                    self.postponed = True
                    self.go_on_later()
                    break
            opened += 1
            self.ready -= 1
            try:
                size = self.tls.read(_RECORD, self.plain)
            except SSLWantReadError:
                self.ready = 0
                break  # no more, or a record that was not for us
            except SSLZeroReturnError:
                size = 0
            except SSLError as error:
                self._broken(error)
                return
            if size == 0:
                # close_notify: the peer will send no more (RFC 8446 section 6.1).
                self._peer_ended()
                break
            self.deliver(size)
        if self.outgoing.pending:
            self._ship()  # OpenSSL's own: a key update, an alert

    def _over_time(self) -> bool:
        """Whether this connection's records have had their share of the turn."""
        now = monotonic()
        if self.opening_since == 0.0 or self.opening_since < self.turn_began():
            self.opening_since = now  # the first look in this turn
            return self.had_its_share()
        return now - self.opening_since > _SHARE or self.had_its_share()

    def _shake_hands(self) -> bool:
        """Go on with the handshake. Whether it is done."""
        connection = self.connection()
        try:
            shake_hands(self.tls)
        except SSLWantReadError:
            self._ship()
            return False
        except SSLError as error:
            self._ship()  # the alert
            log.info("%s: the TLS handshake failed: %s", connection.peer, fault(error))
            self.finished = self.failed = True
            connection.close()
            return False
        self.established = True
        self._ship()
        connection.tls = TLSInfo(self.ssl_object)
        connection.deadlines.expect("head", connection.limits.header_timeout)
        self.tell_established()
        return True

    def _refuse_clear(self, data: bytes) -> None:
        """Not TLS. Someone who speaks HTTP is told where he is."""
        connection = self.connection()
        log.debug("%s: did not speak TLS", connection.peer)
        self.finished = True
        if 65 <= data[0] <= 90:  # a method
            self.in_clear = True
            error = ProtocolError(400, "this port speaks TLS: use https://", quiet=True)
            connection.refuse(error, "HEAD" if data[:5] == b"HEAD " else "GET")
        else:
            self.failed = True
            connection.close()

    def _broken(self, error: SSLError) -> None:
        """What came is no TLS, or was tampered with. The alert is our last word; no close_notify,
        so that nobody takes the end for that of a message."""
        connection = self.connection()
        log.info("%s: TLS failed: %s", connection.peer, fault(error))
        self.finished = True
        self._ship()
        self._drop_queue()
        if self.ending:
            self._close()  # the connection above has ended before
        else:
            connection.close()

    # -- from above: what is sent -------------------------------------------------------------

    def seal(self, data: bytes) -> None:
        """Send `data`. What the peer does not take waits as plain text, by reference."""
        if self.finished:
            if self.in_clear and not self.said:
                self.send(data)
        elif not self.established or self.queue is not None or self.takes_no_more():
            if self.queue is None:
                self.queue = deque()
            self.queue.append(memoryview(data))
            self.waiting += len(data)
        elif len(data) <= _RECORD:
            try:
                self.tls.write(data)
            except SSLError as error:
                self._broken(error)
                return
            self._ship()
        else:
            self._seal_view(memoryview(data))

    def _seal_view(self, view: memoryview) -> None:
        """Seal as much as the peer takes; what is left goes to the front of the queue."""
        at, sealed, size = 0, 0, len(view)
        while at < size:
            if self.takes_no_more():
                if self.queue is None:
                    self.queue = deque()
                self.queue.appendleft(view[at:])
                self.waiting += size - at
                return
            try:
                taken = self.tls.write(view[at : at + _RECORD])
            except SSLError as error:
                self._broken(error)
                return
            at += taken
            sealed += taken
            if sealed >= _BATCH or at == size:
                sealed = 0
                self._ship()

    def take_more(self) -> None:
        """The peer takes more: seal what waited, then end or tell the connection above."""
        while self.queue is not None and not self.finished and not self.takes_no_more():
            view = self.queue.popleft()
            self.waiting -= len(view)
            if not self.queue:
                self.queue = None
            self._seal_view(view)
        if self.queue is not None or self.closed:
            return
        if self.ending:
            self._say_goodbye()
        elif not self.takes_no_more():
            self.tell_writable()

    def _ship(self) -> None:
        """Hand over what OpenSSL has for the peer."""
        sealed = self.outgoing.read()
        if sealed:
            self.send(sealed)

    def _drop_queue(self) -> None:
        self.queue = None
        self.waiting = 0

    def pause_input(self) -> None:
        """The connection above wants nothing."""
        self.unwanted = True
        self.pause_below()

    def resume_input(self) -> None:
        """It wants more."""
        self.unwanted = False
        if not self.held:
            self.resume_below()

    # -- the end ------------------------------------------------------------------------------

    def end(self, linger: bool) -> None:
        """End after what was written, with a close_notify. `linger`: go on receiving, for a while.
        A second call that does not linger takes back the first one's wish."""
        if self.said:
            return
        self.lingers = linger and (self.lingers or not self.ending)
        self.ending = True
        if self.queue is not None:
            if self.established and not self.finished:
                return  # goodbye is said when the peer has taken it
            self._drop_queue()
        self._say_goodbye()

    def abort(self) -> None:
        """The connection above ends with a reset, which the adapter sends."""
        self.said = self.finished = self.ending = True
        self._drop_queue()

    def _say_goodbye(self) -> None:
        if self.said:
            return
        if self.failed:
            # The alert must arrive, and a close with bytes unread would be a reset.
            self.lingers = not self.told
        elif not self.finished:
            self.finished = True
            if self.established:
                with suppress(SSLError):
                    self.tls.shutdown()  # our close_notify is out; the peer's has not come
                self._ship()
            elif not self.told:
                log.debug("%s: the TLS handshake was not finished", self.connection().peer)
        elif not self.in_clear:
            self.lingers = False  # broken
        self._close()

    def _close(self) -> None:
        self.said = True
        self.close_below(self.lingers)
