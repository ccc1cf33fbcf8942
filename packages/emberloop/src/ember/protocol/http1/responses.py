"""Responses as a client reads them: strict, incremental, without a socket (RFC 9112).

`ResponseParser` turns the bytes of one connection into events: a `ResponseHead`, the pieces of its
body as `bytes`, then `END`. Interim responses (1xx) are heads without an end. What a response is
followed by depends on the request that it answers, so every request is announced first
(`request_sent`).

Accepted is what RFC 9112 lets a server send. Where it lets a client repair a message, this one
refuses: a message that two readers could take for two different ones is how responses are smuggled.
"""

from __future__ import annotations

import re
from collections import deque

from ember.exceptions import IncompleteResponse, InvalidResponse, ProtocolError
from ember.limits import ServerLimits
from ember.protocol.http1.chunked import ChunkedDecoder
from ember.protocol.http1.field_line import parse_field
from ember.protocol.http1.framing import tokens

__all__ = ["END", "MAX_INTERIM", "Event", "ResponseHead", "ResponseParser"]

#: Interim responses before a final one; more are refused.
MAX_INTERIM = 32
#: Bytes of a body that one event has at most.
_PIECE = 1 << 20

# status-line (RFC 9112 section 4). Servers have to send the space before an empty reason; one that
# leaves it out is understood, as there is only one way to.
_status_line = re.compile(
    rb"HTTP/([0-9])\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r"
).fullmatch
# What a status line can still become, so that another protocol is refused at its first bytes.
_status_begun = re.compile(
    rb"H(?:T(?:T(?:P(?:/(?:[0-9](?:\.(?:[0-9].*)?)?)?)?)?)?)?", re.DOTALL
).fullmatch
# 1*DIGIT (RFC 9110 section 8.6); 18 digits fit 64 bits.
_length = re.compile(rb"[0-9]{1,18}").fullmatch

# What is being read.
_HEAD, _LENGTH, _CHUNKED, _UNTIL_END, _UPGRADED, _OVER = range(6)


class _End:
    """The response is whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "END"


#: The event behind the last piece of a body.
END = _End()


class ResponseHead:
    """The head of one response; bytes are as received.

    - `status` (100 to 999), `reason` (text, often empty), `minor` (of HTTP/1.x: 0 or 1)
    - `fields`: (name, value) pairs in order
    - `method`: of the request that it answers
    - `chunked`, `length` (bytes of the body; None: until the connection ends, or chunked)
    - `keep_alive`: whether another response can follow on this connection
    - `upgraded`: what follows is another protocol (101, or 2xx to CONNECT)
    """

    __slots__ = (
        "chunked",
        "fields",
        "keep_alive",
        "length",
        "method",
        "minor",
        "reason",
        "status",
        "upgraded",
    )

    def __init__(self, method: str, status: int, reason: str, minor: int) -> None:
        self.method = method
        self.status = status
        self.reason = reason
        self.minor = minor
        self.fields: list[tuple[bytes, bytes]] = []
        self.chunked = False
        self.length: int | None = None
        self.keep_alive = minor > 0
        self.upgraded = False

    def copy(self) -> ResponseHead:
        """Another head that says the same."""
        other = ResponseHead(self.method, self.status, self.reason, self.minor)
        other.fields = self.fields.copy()
        other.chunked = self.chunked
        other.length = self.length
        other.keep_alive = self.keep_alive
        other.upgraded = self.upgraded
        return other

    @property
    def interim(self) -> bool:
        """Whether the response itself is still to come (RFC 9110 section 15.2)."""
        return self.status < 200 and not self.upgraded

    def get(self, name: str) -> str | None:
        """The values of a field, joined with commas; None without one."""
        wanted = name.lower().encode("latin-1")
        values = [value for key, value in self.fields if key.lower() == wanted]
        return b", ".join(values).decode("latin-1") if values else None

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.reason}>"


Event = ResponseHead | bytes | _End


class ResponseParser:
    """The responses on one connection, in the order of the requests.

    `max_header_size` (bytes) and `max_headers` bound a head, and a trailer section likewise. What
    is kept of the input is bounded by them; bodies are handed on as they come.

    After an `InvalidResponse` the connection is of no use: close it. What was whole before the
    fault is given first, however the bytes are split; `broken` is set at once.
    """

    def __init__(self, *, max_header_size: int = 65536, max_headers: int = 128) -> None:
        self._limits = ServerLimits(max_header_size=max_header_size, max_headers=max_headers)
        self._buffer = bytearray()
        self._methods: deque[str] = deque()
        self._state = _HEAD
        self._left = 0
        self._interim = 0
        self._scanned = 0
        self._decoder: ChunkedDecoder | None = None
        self._head: ResponseHead | None = None
        self._keep_alive = True
        self._last = b""
        self._last_head: ResponseHead | None = None
        #: What is wrong, once something is; raised where there is nothing else left to give.
        self.broken: InvalidResponse | None = None

    def request_sent(self, method: str) -> None:
        """A request of this method was sent: one more response will come."""
        self._methods.append(method)

    @property
    def waiting(self) -> int:
        """How many responses are still to come, the one that is being read included."""
        return len(self._methods)

    @property
    def unread(self) -> bytes:
        """What came behind the end of HTTP, once a head said `upgraded`."""
        return bytes(self._buffer) if self._state == _UPGRADED else b""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What `data` completes. Raises `InvalidResponse`."""
        if self.broken is not None:
            raise self.broken
        self._buffer += data
        events: list[Event] = []
        try:
            while self._buffer and self._next(events):
                pass
        except InvalidResponse as error:
            self.broken = error
        except ProtocolError as error:  # of a field line or a chunk, read with the server's rules
            self.broken = InvalidResponse(error.detail)
        if self.broken is not None and not events:
            raise self.broken
        return events

    def eof(self) -> list[Event]:
        """The server ended the connection. Raises `IncompleteResponse` in the middle of one."""
        if self.broken is not None:
            raise self.broken
        events: list[Event] = []
        if self._state == _UNTIL_END:
            self._over(events)
        elif self._state in (_UPGRADED, _OVER):
            pass
        elif self._state != _HEAD or self._head is not None or self._buffer:
            raise IncompleteResponse(
                "the server closed the connection in the middle of its response"
            )
        elif self._methods:
            raise IncompleteResponse("the server closed the connection without a response")
        self._state = _OVER
        return events

    # -- what the state says ------------------------------------------------------------------

    def _next(self, events: list[Event]) -> bool:
        """One step; False when more bytes are needed."""
        state = self._state
        if state == _HEAD:
            return self._line(events)
        if state == _OVER:
            raise InvalidResponse("bytes follow the last response of the connection")
        if state == _CHUNKED:
            decoder = self._decoder
            assert decoder is not None
            piece = decoder.read(self._buffer, _PIECE)
            if piece:
                events.append(piece)
            if decoder.done:
                self._over(events)
                return True
            return bool(piece)
        if state == _UPGRADED:
            return False
        size = len(self._buffer)
        if state == _LENGTH and size > self._left:
            size = self._left
        if size > _PIECE:
            size = _PIECE
        events.append(bytes(self._buffer[:size]))
        del self._buffer[:size]
        if state == _LENGTH:
            self._left -= size
            if self._left == 0:
                self._over(events)
        return True

    def _line(self, events: list[Event]) -> bool:
        """A line of a head."""
        buffer, most = self._buffer, self._limits.max_header_size
        if not self._methods:
            raise InvalidResponse("bytes came without a request")
        if self._scanned == 0 and self._same_again(events):
            return True
        at = buffer.find(b"\n", self._scanned, most + 1)
        if at < 0:
            if len(buffer) > most:
                raise InvalidResponse("the response head is too large")
            if self._head is None and _status_begun(buffer) is None:
                raise InvalidResponse("the status line is malformed")
            self._scanned = len(buffer)
            return False
        begin = 0 if self._head is None else self._left
        line = bytes(buffer[begin:at])
        self._left = self._scanned = at + 1  # while a head is read: where its next line begins
        if self._head is None:
            self._head = self._status(line)
        elif line != b"\r":
            if len(self._head.fields) >= self._limits.max_headers:
                raise InvalidResponse("the response has too many header fields")
            self._head.fields.append(parse_field(line))
        else:
            head, self._head = self._head, None
            text = bytes(buffer[: self._left])
            del buffer[: self._left]
            self._left = self._scanned = 0
            self._complete(head, events)
            if head.status >= 200 and not head.upgraded:
                self._last, self._last_head = text, head
        return True

    def _same_again(self, events: list[Event]) -> bool:
        """Whether the head is that of the response before, byte for byte: a server's responses of
        one second mostly are. Then it need not be read again."""
        head = self._last_head
        if (
            head is None
            or self._interim
            or head.method != self._methods[0]
            or not self._buffer.startswith(self._last)
        ):
            return False
        del self._buffer[: len(self._last)]
        self._body_follows(head.copy(), events)
        return True

    def _status(self, line: bytes) -> ResponseHead:
        match = _status_line(line)
        if match is None:
            raise InvalidResponse("the status line is malformed")
        major, minor, status, reason = match.groups()
        if major != b"1":
            raise InvalidResponse("only HTTP/1.0 and HTTP/1.1 are spoken here")
        text = (reason or b"").decode("latin-1")
        # A higher minor version is understood as the highest known one (RFC 9110 section 2.5).
        return ResponseHead(self._methods[0], int(status), text, 0 if minor == b"0" else 1)

    def _complete(self, head: ResponseHead, events: list[Event]) -> None:
        """A head is whole: how long is its body (RFC 9112 section 6.3)?"""
        lengths = self._framing(head)
        status, method = head.status, head.method
        if status == 101 or (method == "CONNECT" and 200 <= status < 300):
            head.upgraded = True
            head.keep_alive = False
            self._methods.popleft()
            self._state = _UPGRADED
        elif status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise InvalidResponse(f"more than {MAX_INTERIM} interim responses to one request")
        if head.upgraded or status < 200:
            events.append(head)
            return
        if method == "HEAD" or status in (204, 304):
            head.length = 0
            head.chunked = False
        elif lengths:
            head.length = lengths[0]
        elif not head.chunked:
            head.keep_alive = False
        self._body_follows(head, events)

    def _body_follows(self, head: ResponseHead, events: list[Event]) -> None:
        """The head of a final response is told; from here its body is read."""
        events.append(head)
        self._interim = 0
        self._keep_alive = head.keep_alive
        if head.length is not None:
            self._left = head.length
            self._state = _LENGTH
            if not self._left:
                self._over(events)
        elif head.chunked:
            self._decoder = ChunkedDecoder(self._limits)
            self._state = _CHUNKED
        else:
            self._state = _UNTIL_END

    def _framing(self, head: ResponseHead) -> list[int]:
        """The Content-Length of a head, if it has one; notes `chunked` and `keep_alive`."""
        codings: list[bytes] = []
        lengths: list[int] = []
        options: list[bytes] = []
        for name, value in head.fields:
            size = len(name)
            if size not in (10, 14, 17):
                continue
            lower = name.lower()
            if lower == b"content-length":
                # One field with one number; a repeated one is refused though equal, which RFC 9112
                # section 6.3 item 5 offers.
                if lengths or _length(value) is None:
                    raise InvalidResponse("Content-Length is not one number")
                lengths.append(int(value))
            elif lower == b"transfer-encoding":
                codings += [coding.strip(b" \t") for coding in value.lower().split(b",")]
            elif lower == b"connection":
                options += tokens(value)
        if codings:
            if lengths:
                raise InvalidResponse("Content-Length and Transfer-Encoding exclude each other")
            if not head.minor:  # RFC 9112 section 6.1
                raise InvalidResponse("Transfer-Encoding needs HTTP/1.1")
            if head.status < 200 or head.status == 204:  # RFC 9112 section 6.1
                raise InvalidResponse(f"a {head.status} has no Transfer-Encoding")
            if b"" in codings:
                raise InvalidResponse("a transfer coding is empty")
            if b"chunked" in codings[:-1]:
                raise InvalidResponse("chunked is not the last transfer coding, or not once")
            head.chunked = codings == [b"chunked"]
            if not head.chunked:
                # Nothing else was asked for with TE (RFC 9110 section 10.1.4).
                raise InvalidResponse("the only transfer coding known here is chunked")
        if b"close" in options:
            head.keep_alive = False
        elif not head.minor:
            head.keep_alive = b"keep-alive" in options
        return lengths

    def _over(self, events: list[Event]) -> None:
        self._methods.popleft()
        self._decoder = None
        events.append(END)
        self._state = _HEAD if self._keep_alive else _OVER
