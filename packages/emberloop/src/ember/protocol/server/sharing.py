"""Several processes that accept from the same listening sockets, each its share.

The sockets are shared and not one per process (SO_REUSEPORT): the kernel would spread connections
by a hash, which is uneven by chance, and a process that closes its own takes those with it that
wait in its queue. Here everybody takes one connection at a time. Who has more than its share only
watches, and takes what nobody else has taken in TAKEOVER_DELAY: one, then twice as many each time.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ember.protocol.server.pure.asyncio_protocol import HTTPProtocol

    class Share(Protocol):
        """Who else accepts, and how much."""

        def changed(self, connections: int) -> None:
            """This process has so many connections now."""

        def over_share(self) -> bool:
            """Whether this process has more than its share of the connections."""

    class Pausable(Protocol):
        def pause(self) -> None: ...
        def resume(self) -> None: ...
        def look(self) -> None: ...

    class Counting(Protocol):
        """Who counts the connections."""

        def _arrives(self, protocol: HTTPProtocol) -> None: ...
        def _stays_away(self, protocol: HTTPProtocol) -> None: ...


__all__ = ["AcceptBalancer", "ReaderListener", "Share"]

#: Seconds that the others have to take a connection.
TAKEOVER_DELAY = 0.005
#: Seconds between two looks whether they have.
STEP = 0.0005
#: Seconds between two looks for a connection that nobody comes for: the kernel tells one process of
#: each, and that one may be killed, or leave, before it has taken it.
LOOK = 0.5
#: Seconds without accepting after the process ran out of descriptors.
RETRY_DELAY = 1.0
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class AcceptBalancer:
    """Pauses and resumes the listener of one socket as its share asks for."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        listener: Pausable,
        share: Share,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._share = share
        # A descriptor of its own: the loop knows the other one as the listener's.
        self._sock = sock.dup()
        self._watching = False
        self._timer: asyncio.TimerHandle | None = None
        #: how many it may take although it has enough, and how many the next time
        self._credit = 0
        self._next = 1
        self._lookout = loop.call_later(LOOK, self._look_out)

    def changed(self) -> None:
        """The connections of this process, or of others, have become more or less."""
        if self._credit > 1:
            self._credit -= 1
            return
        self._credit = 0
        if self._share.over_share():
            if not self._watching:
                self._watching = True
                self._listener.pause()
                self._loop.add_reader(self._sock.fileno(), self._someone_waits)
        else:
            self._next = 1
            if self._watching:
                self._resume()

    def close(self) -> None:
        """Watch no more."""
        self._lookout.cancel()
        self._unwatch()
        self._sock.close()

    def _look_out(self) -> None:
        self._lookout = self._loop.call_later(LOOK, self._look_out)
        if not self._watching:
            self._listener.look()

    def _resume(self) -> None:
        self._unwatch()
        self._listener.resume()

    def _unwatch(self) -> None:
        self._watching = False
        self._cancel_timer()
        self._loop.remove_reader(self._sock.fileno())

    def _cancel_timer(self) -> None:
        """One timer at a time: another one would be forgotten, and come after `close`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _someone_waits(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._look(self._loop.time() + TAKEOVER_DELAY)

    def _look(self, until: float) -> None:
        self._cancel_timer()
        if not self._share.over_share():
            self._next = 1
            self._resume()
        elif self._readable():
            if self._loop.time() < until:
                self._timer = self._loop.call_later(STEP, self._look, until)
                return
            # The others are busy, perhaps stuck: soon it takes all that comes.
            self._resume()
            self._credit = self._next
            self._next = min(self._next * 2, 1024)
            self._timer = self._loop.call_later(TAKEOVER_DELAY, self._spent)
        else:
            self._next = 1
            self._loop.add_reader(self._sock.fileno(), self._someone_waits)

    def _spent(self) -> None:
        self._timer = None
        self._credit = 0
        self.changed()

    def _readable(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))


class ReaderListener:
    """Accepts one connection a turn, on any loop that can watch a descriptor.

    A loop tells a protocol of its connection some turns after it was accepted. It counts from the
    start, or this process would take several more meanwhile.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        speak: Callable[[], HTTPProtocol],
        secure: Callable[[HTTPProtocol], asyncio.BufferedProtocol],
        backlog: int,
        server: Counting,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._speak = speak
        self._secure = secure
        self._server = server
        self._arriving: set[asyncio.Task[Any]] = set()
        self._paused = False
        self._retry: asyncio.TimerHandle | None = None
        sock.listen(backlog)
        self.resume()

    def pause(self) -> None:
        """Accept nothing until `resume`."""
        self._paused = True
        self._loop.remove_reader(self._sock.fileno())

    def resume(self) -> None:
        """Accept again; when the process has no room for it, as soon as it may have."""
        self._paused = False
        if self._retry is None:
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def _try_again(self) -> None:
        self._retry = None
        if not self._paused:
            self.resume()

    def look(self) -> None:
        """Nothing to do: everybody who watches in this way is told of every connection."""

    def close(self) -> None:
        """Stop accepting, and close the socket."""
        if self._retry is not None:
            self._retry.cancel()
        self.pause()
        self._sock.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has left
        except OSError as error:
            if error.errno not in _OUT_OF_RESOURCES:
                raise
            self._loop.remove_reader(self._sock.fileno())
            self._loop.call_exception_handler(
                {"message": "socket.accept() out of system resource", "exception": error}
            )
            self._retry = self._loop.call_later(RETRY_DELAY, self._try_again)
            return
        accepted.setblocking(False)
        protocol = self._speak()
        task = self._loop.create_task(self._serve(accepted, protocol))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        self._server._arrives(protocol)

    async def _serve(self, accepted: socket.socket, protocol: HTTPProtocol) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._secure(protocol), accepted)
        except OSError:  # the client left
            accepted.close()
        finally:
            self._server._stays_away(protocol)
