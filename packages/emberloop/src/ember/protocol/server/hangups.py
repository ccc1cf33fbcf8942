"""Peers that leave while nothing is read from them, on loops that do not tell.

asyncio's transports look at a socket while they read it or have something to send. So a client that
leaves while its handler works, and reading is paused or at its end, is not seen. An epoll of our
own looks at such sockets, for nothing but the end of the peer, and the loop looks at the epoll.
Where there is no epoll, or the loop has no `add_reader`, such a client is seen when the response is
written.
"""

from __future__ import annotations

import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["PeerWatch", "half_close", "unread"]


class Hangups:
    """The sockets of one loop whose peers may leave unseen."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll: select.epoll | None = None
        self._notify: dict[int, Callable[[bool], None]] = {}
        if hasattr(select, "epoll"):
            epoll = select.epoll()
            try:
                loop.add_reader(epoll.fileno(), self._look)
            except NotImplementedError:
                epoll.close()
            else:
                self._epoll = epoll

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Hangups:
        """Those of `loop`."""
        hangups: Hangups | None = getattr(loop, "_ember_hangups", None)
        if hangups is None:
            hangups = cls(loop)
            loop._ember_hangups = hangups  # type: ignore[attr-defined]
        return hangups

    def watch(self, fd: int, notify: Callable[[bool], None], *, ended: bool = False) -> None:
        """Call `notify(False)` once when the peer has ended its side, `notify(True)` when it has
        gone. `ended`: the first of these is known."""
        if self._epoll is None:
            return
        # One-shot: what has been told is true for ever, and would be told again and again.
        events = select.EPOLLONESHOT | (0 if ended else select.EPOLLRDHUP)
        if fd in self._notify:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._notify[fd] = notify

    def forget(self, fd: int) -> None:
        """The socket will be closed."""
        if self._notify.pop(fd, None) is not None and self._epoll is not None:
            self._epoll.unregister(fd)

    def _look(self) -> None:
        if self._epoll is None:
            return
        for fd, events in self._epoll.poll(0):
            notify = self._notify.get(fd)
            if notify is not None:
                notify(bool(events & (select.EPOLLHUP | select.EPOLLERR)))


def unread(transport: asyncio.BaseTransport | None) -> bool:
    """Whether there are bytes of the peer that the transport, or TLS over it, has not read."""
    if getattr(transport, "postponed", False):
        return True
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or sys.platform == "win32":
        return False
    import fcntl
    import termios

    waiting = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0")
    return int.from_bytes(waiting, sys.byteorder) > 0


class PeerWatch:
    """What one asyncio protocol knows of its peer while nothing is read."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        hangup: Callable[[], None],
    ) -> None:
        self._hangups = Hangups.of(loop)
        self._transport: asyncio.Transport | None = transport
        self._hangup: Callable[[], None] | None = hangup
        self._ended = False
        sock = transport.get_extra_info("socket")
        self._fd: int = -1 if sock is None else sock.fileno()

    def start(self, *, ended: bool = False) -> None:
        """Reading is paused, or (`ended`) has come to its end."""
        self._ended = self._ended or ended
        if self._fd >= 0:
            self._hangups.watch(self._fd, self._told, ended=self._ended)

    def stop(self) -> None:
        """The connection is over."""
        if self._fd >= 0:
            self._hangups.forget(self._fd)
            self._fd = -1
        self._transport = self._hangup = None

    def _told(self, gone: bool) -> None:
        transport, hangup = self._transport, self._hangup
        if transport is None or hangup is None:
            return
        if not self._ended and transport.is_reading():
            return  # then the transport sees it, behind what was sent before
        if gone:
            transport.abort()
            return
        self._ended = True
        self.start()
        hangup()


def half_close(transport: asyncio.WriteTransport) -> bool:
    """`transport.write_eof()`. False when the peer has reset the connection and the transport has
    not said so yet: a stock one raises the socket's error then, and is aborted here."""
    try:
        transport.write_eof()
    except OSError:
        transport.abort()
        return False
    return True
