"""What may speak on a connection besides HTTP/1.1: the seam between a connection and a protocol.

A connection begins with HTTP/1.1, which is part of it. It is handed over to another codec by the
handshake of TLS (ALPN, RFC 7301) or by an `Upgrade` in response to a request (RFC 9110 section
7.8). From then on the codec gets what arrives and says what is sent; deadlines, the limit of a slow
reader, TLS, counting and the end of the server stay with the connection.
"""

from __future__ import annotations

from typing import Protocol

from ember.protocol.message._response import Response
from ember.protocol.message.dates import date_field
from ember.protocol.message.headers import CONNECTION_FIELDS, check_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Callable

    from ember.limits import ServerLimits
    from ember.protocol.message.headers import HeadersInit
    from ember.protocol.server.application import Application
    from ember.protocol.server.tls import TLSInfo

__all__ = ["Carrier", "Codec", "Output", "Upgrade"]

#: The bytes that a token may have (RFC 9110 section 5.6.2); a version follows a slash.
_TOKEN = frozenset("!#$%&'*+-.^_`|~/0123456789abcdefghijklmnopqrstuvwxyz")


class Output(Protocol):
    """A connection, as its codec sees it."""

    app: Application
    limits: ServerLimits
    client: tuple[str, int] | None
    scheme: str
    tls: TLSInfo | None
    loop: asyncio.AbstractEventLoop | None
    #: what every callback and request starts from
    context: contextvars.Context
    #: nothing more is sent or received
    closing: bool
    #: handlers run in genuine tasks of asyncio
    strict: bool

    @property
    def flowing(self) -> bool:
        """Whether the peer takes what is sent; see `drain`."""

    def write(self, data: bytes) -> None:
        """Send `data`, together with what else is sent in this turn of the loop."""

    async def drain(self) -> None:
        """Wait until the peer has caught up. Raises ClientDisconnected when it left."""

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""

    def resume_reading(self) -> None:
        """Receive again."""

    def expect_within(self, seconds: float) -> None:
        """Call `timed_out` so many seconds from now; replaces what was expected before. Infinity:
        nothing is expected."""

    def count_request(self) -> None:
        """One more request came over this connection."""

    def close(self) -> None:
        """End the connection after what was written."""

    def abort(self) -> None:
        """End the connection now, with a reset."""


class Codec(Protocol):
    """What speaks on a connection. What one of these raises is logged and resets the connection; no
    other connection is affected."""

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; those that came right behind the upgrade first."""

    def eof_received(self) -> None:
        """The peer will send no more. The connection stays open until the codec closes it."""

    def connection_lost(self) -> None:
        """The connection is gone; the last call."""

    def pause_writing(self) -> None:
        """The peer takes less than is sent."""

    def resume_writing(self) -> None:
        """The peer has caught up."""

    def timed_out(self) -> None:
        """What `expect_within` expected did not come in time."""

    def drain(self) -> None:
        """The server stops: finish what is in flight, then close."""


class Carrier(Protocol):
    """What a codec does for each of its exchanges; see `ember.protocol.server.subconnection`."""

    def sent(self, data: bytes) -> None:
        """Part of the response, as HTTP/1.1 has it."""

    def unsent(self) -> int:
        """Bytes of it that the peer has not taken. While there are some that stand still, they are
        judged as those of any slow reader; `SubConnection.resume_writing()` says that it took
        them."""

    def pause_reading(self) -> None:
        """The application takes no more of the body for now."""

    def resume_reading(self) -> None:
        """It does again."""

    def closed(self, aborted: bool) -> None:
        """The exchange is over; the last call. `aborted`: the response is not whole."""


class NoCarrier:
    """What carries an exchange that is over: nothing that could be kept alive by it."""

    def sent(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def closed(self, aborted: bool) -> None: ...

    def unsent(self) -> int:
        return 0


NO_CARRIER = NoCarrier()


class Upgrade(Response):
    """The response 101: behind it the connection speaks `protocol`.

    `codec(output)` makes what speaks it, once the response is written. The request has to be
    HTTP/1.1, to name `protocol` in its Upgrade field (which is for the application to look at) and
    to have no body. Raises ValueError for a protocol that is no token (RFC 9110 section 7.8).
    """

    def __init__(
        self,
        protocol: str,
        codec: Callable[[Output], Codec],
        headers: HeadersInit | None = None,
    ) -> None:
        super().__init__(b"", 200, headers)
        if not protocol or not _TOKEN.issuperset(protocol.lower()):
            raise ValueError(f"Upgrade({protocol!r}): expected the name of a protocol")
        self.status_code = 101
        self.protocol = protocol
        self.codec = codec

    def render(self) -> bytes:
        """The head, which is all that there is."""
        parts = [b"HTTP/1.1 101 Switching Protocols\r\n"]
        headers = self._headers if self._shared is None else self._shared
        for name, value in () if headers is None else headers.raw:
            if name.lower().decode() not in CONNECTION_FIELDS and name.lower() != b"upgrade":
                parts.append(name + b": " + value + b"\r\n")
        parts.append(f"Upgrade: {check_value('Upgrade', self.protocol)}\r\n".encode())
        parts += [b"Connection: upgrade\r\n", date_field(), b"\r\n"]
        return b"".join(parts)


def upgrade_of(response: Response, minor: int, has_body: bool) -> Upgrade:
    """`response`, whose status is 101, if a request of HTTP/1.`minor` can be answered by it. Raises
    ValueError."""
    if not isinstance(response, Upgrade):
        raise ValueError("status_code=101: expected a number from 200 to 599, or an Upgrade")
    if not minor:
        raise ValueError("HTTP/1.0 has no Upgrade (RFC 9110 section 7.8)")
    if has_body:
        raise ValueError("a request with a body cannot be answered by an Upgrade")
    return response
