"""Garbage for a running TLS server: in place of the handshake, inside it, and behind it. It has to
answer the next client, lose no connection, and say nothing that is an error of its own."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ember.limits import ServerLimits
from ember.protocol.server.tls import ServerTLS
from ember.request import Request

from fuzz.engine import Finding
from tests.support.app import App
from tests.support.server import Running
from tests.support.tls import Authority, Wire

#: Types of records (RFC 8446 section 5.1), two that there are not among them.
_TYPES = (20, 21, 22, 23, 24, 0, 255)
#: Seconds that a client waits for more before it does what it wanted to do next.
_TIMEOUT = 0.05
#: Inputs after which an honest client is served, and everything must be over.
_ROUND = 25

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n" + bytes(70000)


async def _echo(request: Request) -> bytes:
    return b"%d" % len(await request.body())


class _Errors(logging.Handler):
    """Keeps what the server says of itself; what clients do wrong is below ERROR."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


class TlsFuzzer:
    """`round()` sends garbage and then an honest request; raises `Finding`. `counts`: inputs."""

    def __init__(self, running: Running, context: ssl.SSLContext, seed: int) -> None:
        self._running, self._context = running, context
        self._random = random.Random(seed)
        self._errors = _Errors()
        self.counts: dict[str, int] = {}

    def round(self) -> None:
        """Raises `Finding`."""
        inputs = (self._noise, self._handshake, self._records, self._mutated, self._left)
        sent: list[str] = []
        logging.getLogger().addHandler(self._errors)
        try:
            for _ in range(_ROUND):
                one = self._random.choice(inputs)
                name = one.__name__.strip("_")
                sent.append(name)
                # Whatever the server answers to garbage, or that it resets, is right.
                with contextlib.suppress(OSError, ssl.SSLError):
                    one()
                self.counts[name] = self.counts.get(name, 0) + 1
            self._honest()
            end = time.monotonic() + 20
            while self._running.server.connections:
                if time.monotonic() > end:
                    raise Finding(f"{self._running.server.connections} connections are left")
                time.sleep(0.01)
        except (OSError, AssertionError) as error:
            raise Finding(f"after {sent}: an honest client got {error!r}") from error
        finally:
            logging.getLogger().removeHandler(self._errors)
        if self._errors.said:
            raise Finding(f"after {sent}: the server said {self._errors.said[0]}")

    def _honest(self) -> None:
        with self._wire() as wire:
            wire.handshake(self._random.choice((1 << 20, 7)))
            wire.send(wire.sealed(GET))
            answer = wire.receive()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer

    # -- garbage ------------------------------------------------------------------------------

    def _noise(self) -> None:
        """Bytes that are no TLS, or only look like it."""
        r = self._random
        with self._wire() as wire:
            data = r.choice((b"", b"\x16", b"\x16\x03\x01", b"\x80\x2e\x01", GET, b"HEAD / "))
            self._cut(wire, data + r.randbytes(r.randrange(300)))

    def _handshake(self) -> None:
        """A ClientHello, or what follows it, with errors."""
        r = self._random
        with self._wire() as wire:
            if r.random() < 0.6:
                with contextlib.suppress(ssl.SSLWantReadError):
                    wire.tls.do_handshake()
                self._cut(wire, self._mutate(wire.outgoing()))
                return
            # A second flight with errors: the first goes through.
            with contextlib.suppress(ssl.SSLWantReadError):
                wire.tls.do_handshake()
            wire.send(wire.outgoing())
            wire.take()
            with contextlib.suppress(ssl.SSLWantReadError):
                wire.tls.do_handshake()
            self._cut(wire, self._mutate(wire.outgoing()))

    def _records(self) -> None:
        """After the handshake, records that are made up."""
        r = self._random
        with self._wire() as wire:
            wire.handshake()
            data = bytearray()
            for _ in range(r.randrange(1, 6)):
                size = r.choice((0, 1, 2, 30, 300, 16384, 16640, 18432, 18433, 65535))
                data += struct.pack("!BHH", r.choice(_TYPES), r.choice((0x303, 0x300, 0)), size)
                data += r.randbytes(r.choice((size, size, min(size, 10))))
            if r.random() < 0.3:
                data[:0] = wire.sealed(GET)
            self._cut(wire, bytes(data))

    def _mutated(self) -> None:
        """Sealed requests that were tampered with, after some that were not."""
        r = self._random
        with self._wire() as wire:
            wire.handshake()
            wire.send(wire.sealed(GET * r.randrange(3) or GET))
            self._cut(wire, self._mutate(wire.sealed(r.choice((GET, GET * 50, POST)))))

    def _left(self) -> None:
        """Nothing wrong but the end: with a goodbye, without, in the middle of a record."""
        r = self._random
        with self._wire() as wire:
            wire.handshake()
            data = wire.sealed(r.choice((GET, GET * 200, POST)))
            self._cut(wire, data[: r.choice((len(data), r.randrange(len(data))))])
            if r.random() < 0.3:
                with contextlib.suppress(ssl.SSLWantReadError):
                    wire.tls.unwrap()
                wire.send(wire.outgoing())

    def _mutate(self, data: bytes) -> bytes:
        r = self._random
        changed = bytearray(data)
        for _ in range(r.randrange(1, 4)):
            at = r.randrange(len(changed) or 1)
            how = r.random()
            if how < 0.4 and changed:
                changed[at] ^= 1 << r.randrange(8)
            elif how < 0.55:
                changed[at:at] = r.randbytes(r.randrange(1, 20))
            elif how < 0.7:
                del changed[at : at + r.randrange(1, 20)]
            elif how < 0.85:
                changed[at:at] = changed[: r.randrange(len(changed) or 1)]
            else:
                del changed[at:]
        return bytes(changed)

    def _cut(self, wire: _Garbage, data: bytes) -> None:
        """Send in pieces; then wait a little, half-close, reset, or just go."""
        r = self._random
        wire.send(data, r.choice((1 << 20, 1 << 20, 1000, max(1, len(data) // 7))))
        how = r.random()
        if how < 0.4:
            wire.take()
        elif how < 0.6:
            wire.sock.shutdown(socket.SHUT_WR)
            wire.take()
        elif how < 0.8:
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    @contextlib.contextmanager
    def _wire(self) -> Iterator[_Garbage]:
        wire = _Garbage(self._running, self._context)
        try:
            yield wire
        finally:
            wire.sock.close()


class _Garbage(Wire):
    """A wire that need not keep to TLS."""

    def outgoing(self) -> bytes:
        """What OpenSSL would send now."""
        return self._outgoing.read()

    def take(self) -> None:
        """Give OpenSSL what has come, if something comes soon."""
        self.sock.settimeout(_TIMEOUT)
        with contextlib.suppress(TimeoutError):
            self._incoming.write(self.sock.recv(1 << 18))


def run(seconds: float, seed: int) -> dict[str, int]:
    """Fuzz so long, at least one round. What was sent, by kind; raises `Finding`."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        limits = ServerLimits(
            handshake_timeout=2, header_timeout=2, body_timeout=2, keep_alive_timeout=2
        )
        app = App({"*": _echo}, limits=limits)
        running = Running(app, ssl=ServerTLS(*authority.pair("localhost")))
        try:
            fuzzer, end = TlsFuzzer(running, authority.client(), seed), time.monotonic() + seconds
            fuzzer.round()
            while time.monotonic() < end:
                fuzzer.round()
        finally:
            running.stop()
        return fuzzer.counts
