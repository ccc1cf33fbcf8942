"""Clients that tell a wrong answer from a lost one, and what they ask for."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Protocol

#: Seconds after which something is waited for in vain.
TIMEOUT = 15.0
HOST = "127.0.0.1"
BIG = bytes(range(256)) * 3000
PIECES = [b"piece %d\n" % number * 100 for number in range(5)]


class Found(Exception):
    """A fault of ours."""


class Lost(Exception):
    """The connection ended early."""


class InVain(Found):
    """Nothing comes."""


class Ports(Protocol):
    """Where the servers listen: the HTTP one and the one that sends back what it gets."""

    port: int
    echo_port: int


class Client:
    """A blocking client that tells what is wrong from what is lost."""

    #: seconds after which it waits in vain
    timeout = TIMEOUT

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(self.timeout)
        self.unread = b""
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect((HOST, port))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except TimeoutError:
            raise InVain("the server does not read") from None
        except OSError as error:
            raise Lost from error

    def more(self) -> bytes:
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            raise InVain(f"nothing comes; before it came {self.unread[:200]!r}") from None
        except OSError as error:
            raise Lost from error
        if not data:
            raise Lost
        return data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.unread:
            self.unread += self.more()
        found, _, self.unread = self.unread.partition(mark)
        return found

    def exactly(self, size: int) -> bytes:
        parts, have = [self.unread], len(self.unread)
        while have < size:
            parts.append(self.more())
            have += len(parts[-1])
        data = b"".join(parts)
        self.unread = data[size:]
        return data[:size]

    def answer(self, body: bytes) -> None:
        """The next answer is a 200 with `body`; Lost for one that says that something failed."""
        head = self.until(b"\r\n\r\n").lower()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"content-length" in fields:
            found = self.exactly(int(fields[b"content-length"]))
        else:
            found = b""
            while size := int(self.until(b"\r\n"), 16):
                found += self.exactly(size)
                if self.until(b"\r\n"):
                    raise Found("a chunk that does not end")
            self.until(b"\r\n")
        if head.startswith((b"http/1.1 503", b"http/1.1 500", b"http/1.1 408")):
            raise Lost
        if not head.startswith(b"http/1.1 200") or found != body:
            at = next((i for i, (a, b) in enumerate(zip(found, body, strict=False)) if a != b), 0)
            raise Found(
                f"a wrong answer: {head!r}: {len(found)} bytes for {len(body)}; from byte {at} on "
                f"{found[at : at + 60]!r} for {body[at : at + 60]!r}"
            )

    def get(self, path: str, body: bytes) -> None:
        self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.answer(body)


def plain(place: Ports) -> None:
    with Client(place.port) as client:
        client.get("/hello", b"hello you")
        client.get("/pieces", b"".join(PIECES))
        client.send(b"GET /hello?name=me HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        for _ in range(20):
            client.answer(b"hello me")


def posted(place: Ports) -> None:
    with Client(place.port) as client:
        for size in (10, 200_000):
            body = os.urandom(size)
            head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
            client.send(head.encode() + body[: size // 2])
            client.send(body[size // 2 :])
            client.answer(body)
        client.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Lost):
            client.more()


def slow(place: Ports) -> None:
    with Client(place.port, receive_buffer=8192) as client:
        client.get("/big", BIG)
        client.get("/file", BIG)


def left(place: Ports) -> None:
    with Client(place.port, receive_buffer=8192) as client:
        client.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        client.more()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def echoed(place: Ports) -> None:
    with Client(place.echo_port, receive_buffer=8192) as client:
        data = os.urandom(50_000)
        client.send(data)
        if client.exactly(len(data)) != data:
            raise Found("the echo is another")
        client.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Lost):
            client.more()


def at_once(place: Ports) -> None:
    """Requests that are answered without waiting for anything."""
    with Client(place.port) as client:
        client.get("/plain", b"plain")
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345")
        client.answer(b"12345")
        client.send(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        for _ in range(5):
            client.answer(b"plain")
        client.get("/file", BIG)


DEEDS: tuple[Callable[[Ports], None], ...] = (plain, posted, slow, left, echoed)


def act(place: Ports, deeds: tuple[Callable[[Ports], None], ...] = DEEDS) -> None:
    for deed in deeds:
        try:
            deed(place)
        except (Lost, ConnectionError):
            pass
        except Found as error:
            raise type(error)(f"{deed.__name__}: {error}") from None
