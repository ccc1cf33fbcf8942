"""`SubConnection` of the pure build: see `subconnection.py` of the server."""

from __future__ import annotations

from ember.protocol.server.codec import NO_CARRIER
from ember.protocol.server.pure.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.server.codec import Carrier, Output
    from ember.protocol.server.openfile import OpenFile


class SubConnection:
    """One exchange of a connection that has several at once; see `subconnection.py`."""

    def __init__(self, output: Output, carrier: Carrier) -> None:
        self._carrier: Carrier = carrier
        self._ended = self._closes = False
        connection = self._connection = Connection(
            output.app,
            self,
            self,
            limits=output.limits,
            client=output.client,
            scheme=output.scheme,
        )
        connection.tls = output.tls
        connection.context = output.context
        connection.retiring = True
        output.count_request()
        if output.loop is not None:
            connection.attach(output.loop, False)

    def feed(self, data: bytes) -> None:
        """Bytes of the request, as HTTP/1.1 has them."""
        self._connection.feed(data)

    def lost(self) -> None:
        """The peer has given this exchange up, or is gone."""
        self._end(False)

    def pause_writing(self) -> None:
        """The peer takes less than is sent: the producer waits."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self._closes and not self._carrier.unsent():
            self._end(False)
        elif not self._ended:
            self._connection.resume_writing()

    def drain(self) -> None:
        """The server stops: no request that has not begun is answered."""
        self._connection.drain_and_close()

    def _end(self, aborted: bool) -> None:
        if not self._ended:
            self._ended = True
            carrier, self._carrier = self._carrier, NO_CARRIER
            self._connection.lost()
            carrier.closed(aborted)

    # -- what the connection calls ------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._carrier.sent(data)

    def pause_reading(self) -> None:
        self._carrier.pause_reading()

    def resume_reading(self) -> None:
        self._carrier.resume_reading()

    def unsent(self) -> int:
        return self._carrier.unsent()

    def unread(self) -> bool:
        return False

    def watch_peer(self) -> None:
        pass

    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool:
        return False

    def close_connection(self, linger: bool) -> None:
        self._closes = True
        if not self._carrier.unsent():
            self._end(False)

    def abort_connection(self) -> None:
        self._end(True)
