"""The listening sockets of a server: TCP, unix, or inherited ones."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from ember.protocol.server.listening import bind, bind_unix
from ember.server.options import StartError

if TYPE_CHECKING:
    from ember.server.options import Options

#: The first descriptor of systemd's socket activation (sd_listen_fds(3)).
_FIRST = 3


class Sockets:
    """The bound sockets of a server, and the file of its unix socket, which it removes at the
    end."""

    def __init__(self, sockets: list[socket.socket], path: str | None = None) -> None:
        self.sockets = sockets
        self._file = None if path is None else (path, os.stat(path).st_ino)

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """(host, port) of every TCP socket, the path of a unix socket."""
        names = [sock.getsockname() for sock in self.sockets]
        return [name[:2] if isinstance(name, tuple) else name for name in names]

    def close(self) -> None:
        """Close the sockets in this process. Other processes keep theirs."""
        for sock in self.sockets:
            sock.close()

    def unlink(self) -> None:
        """Remove the file of the unix socket, unless another server has replaced it."""
        file, self._file = self._file, None
        if file is not None and os.path.exists(file[0]) and os.stat(file[0]).st_ino == file[1]:
            os.unlink(file[0])


def open_sockets(options: Options) -> Sockets:
    """Bind the sockets of `options`, or take inherited ones. They do not listen yet.

    The order is `fd`, `uds`, sockets of systemd (LISTEN_FDS for this process), `host` and `port`.
    Raises StartError.
    """
    if options.fd is not None:
        return Sockets([_adopt(options.fd, "fd=")])
    try:
        if options.uds is not None:
            path = os.fspath(options.uds)
            return Sockets([bind_unix(path, options.uds_mode)], path)
        return Sockets(_from_systemd() or bind(options.host, options.port))
    except OSError as error:
        raise StartError(why(error, options)) from None


def _from_systemd() -> list[socket.socket]:
    """The sockets of systemd's socket activation. The environment variables are removed, so that a
    child process does not use them."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.pop("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not count.isdigit() or count == "0":
        return []
    return [_adopt(fd, "LISTEN_FDS: ") for fd in range(_FIRST, _FIRST + int(count))]


def _adopt(fd: int, origin: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(f"{origin}{fd} is not a socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        raise StartError(f"{origin}{fd} is not a stream socket")
    os.set_inheritable(fd, False)
    return sock


def why(error: OSError, options: Options) -> str:
    """The message for a server that cannot listen, with what to do."""
    reason = error.strerror or str(error)
    if isinstance(error, socket.gaierror):
        return f"{options.host} is not an address: {reason}"
    if error.errno == errno.EADDRINUSE and options.uds is None:
        return f"{reason}; stop it or choose another port"
    return reason
