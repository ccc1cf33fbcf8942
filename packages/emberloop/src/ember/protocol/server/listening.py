"""The sockets that a server listens on: by host and port, or by the path of a unix socket."""

from __future__ import annotations

import os
import socket
import stat

__all__ = ["bind", "bind_unix"]


def bind(host: str | None, port: int) -> list[socket.socket]:
    """A socket for each address of `host`, IPv4 and IPv6; all on one free port where `port` is 0.

    `host=None` or `""` means every address. Raises `OSError` whose `strerror` says which address
    cannot be had, and why.
    """
    # As bytes where it is ASCII: a str goes through the idna codec and its megabyte of tables.
    name = host.encode("ascii") if host and host.isascii() else host
    infos = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(infos):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            try:
                s = socket.socket(family, kind, proto)
            except OSError:
                continue  # an address family that this machine does not have
            sockets.append(s)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(sockets) > 1:
                # One free port for every family.
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                s.bind(address)
            except OSError as error:
                raise _explain(error, f"{address[0]}:{port}") from None
    except BaseException:
        for s in sockets:
            s.close()
        raise
    if not sockets:
        raise OSError(f"{host!r} has no address to listen on")
    return sockets


def bind_unix(path: str, mode: int | None = None) -> socket.socket:
    """A unix socket at `path`, with the permissions `mode` (default: what the umask leaves).

    A socket file that nobody answers on is taken for left behind, and replaced.
    """
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
            os.unlink(path)  # left behind by a server that is gone
        s.bind(path)
        if mode is not None:
            os.chmod(path, mode)
    except OSError as error:
        s.close()
        raise _explain(error, path) from None
    return s


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        return True


def _explain(error: OSError, address: str) -> OSError:
    import errno

    text = {
        errno.EADDRINUSE: "is already in use by another program",
        errno.EACCES: "may not be used by this user (ports below 1024 need a privilege)",
        errno.EADDRNOTAVAIL: "is not an address of this machine",
    }.get(error.errno or 0, error.strerror)
    return OSError(error.errno, f"{address} {text}")
