"""Large responses on their way to a transport that would copy them.

asyncio's own transport keeps what its socket does not take in a bytearray of its own, up to Python
3.11: fifty silent readers of one response would hold it fifty times. What is large waits here
instead, by reference, and the transport gets it piece by piece as its peer takes it.
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

#: Bytes from which on a response waits here.
LARGE = 32768
#: Bytes that the transport gets, and may copy, at once.
PIECE = 65536


def copies(transport: asyncio.Transport) -> bool:
    """Whether `transport` copies what it cannot send."""
    return type(getattr(transport, "_buffer", None)) is bytearray


class Backlog:
    """In front of one transport, whose protocol says when writing pauses and may go on again.

    While anything waits here the transport says after each byte that is left over that writing is
    to pause, and that it may go on when none is.
    """

    __slots__ = ("_last", "_paused", "_queue", "_transport", "size")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._queue: deque[memoryview] = deque()
        self._last: Callable[[], object] | None = None
        self._paused = False
        #: bytes that wait here
        self.size = 0

    def write(self, data: bytes) -> None:
        """Send `data` after what waits."""
        if not self._queue:
            if len(data) < LARGE:
                self._transport.write(data)
                return
            self._transport.set_write_buffer_limits(0)
        self._queue.append(memoryview(data))
        self.size += len(data)
        self._pump()

    def pause_reading(self) -> None:
        """As the transport does."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As the transport does."""
        self._transport.resume_reading()

    def pause(self) -> None:
        """The transport has more than it wants."""
        self._paused = True

    def resume(self) -> bool:
        """The transport takes more. Whether the protocol may write again: nothing waits here, and
        what did has not been too much for the transport."""
        self._paused = False
        self._pump()
        return not self._queue and not self._paused

    def _pump(self) -> None:
        queue, transport = self._queue, self._transport
        while queue and not transport.get_write_buffer_size():
            if transport.is_closing():  # broken: it would drop, and log, each piece
                self.drop()
                return
            data = queue[0]
            # First the books: `write` may call back.
            if len(data) > PIECE:
                queue[0] = data[PIECE:]
                data = data[:PIECE]
            else:
                queue.popleft()
            self.size -= len(data)
            transport.write(data)
            if not queue:
                self._emptied()

    def _emptied(self) -> None:
        self._transport.set_write_buffer_limits()
        last, self._last = self._last, None
        if last is not None:
            last()

    def after(self, last: Callable[[], object]) -> None:
        """Call `last()` once the transport has everything: it closes, or ends its stream."""
        if self._queue:
            self._last = last
        else:
            last()

    def hand_over(self) -> None:
        """Give the transport everything: what comes next goes past this."""
        while self._queue:
            data = self._queue.popleft()
            self.size -= len(data)
            self._transport.write(data)
            if not self._queue:
                self._emptied()

    def drop(self) -> None:
        """Nobody will take it any more."""
        self._queue.clear()
        self._last = None
        self.size = 0
