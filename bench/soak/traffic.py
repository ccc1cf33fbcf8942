"""The clients of a soak: well-behaved ones, whose answers are counted, and every bad kind."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable

#: Seconds after which an answer that a well-behaved client waits for counts as stuck.
STUCK = 20.0

_UPLOAD = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    + bytes(300_000)
    + b"\r\n--x--\r\n"
)


class Lost(Exception):
    """The connection ended before the answer did."""


class Traffic:
    """What the clients did: `answers` by (route, status), `lost` answers, `stuck` ones, faults."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.answers: Counter[tuple[str, int]] = Counter()
        self.lost = 0
        self.stuck = 0
        self.faults: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._random = random.Random(seed)

    async def run(self, polite: int, rude: int, until: float) -> None:
        """Both kinds of clients, until the loop's clock says `until`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(polite):
                group.create_task(self._polite(until))
            for _ in range(rude):
                group.create_task(self._rude(until))

    # -- well-behaved -------------------------------------------------------------------------

    async def _polite(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.faults["refused"] += 1
                await asyncio.sleep(0.05)
                continue
            try:
                for _ in range(self._random.randrange(1, 200)):
                    if loop.time() >= until:
                        break
                    async with asyncio.timeout(STUCK):
                        if not await self._one(reader, writer):
                            break
            except TimeoutError:
                self.stuck += 1
            except (Lost, OSError, asyncio.IncompleteReadError):
                self.lost += 1
            finally:
                await _close(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection can be used again."""
        number = self._random.randrange(1_000)
        route, target, expected, body = self._random.choice(
            [
                ("/counted/hello", "/counted/hello", 200, None),
                ("/counted/items/{id:int}", f"/counted/items/{number}", 200, None),
                ("/counted/tasks", "/counted/tasks", 201, b'{"title":"soak"}'),
                ("/counted/tasks", "/counted/tasks", 422, b'{"title":7}'),
                ("/counted/slow", "/counted/slow", 200, None),
                ("/counted/cached/{key}", f"/counted/cached/{number % 100}", 200, None),
                ("/counted/fails", "/counted/fails", 418, None),
                ("static", "/files/page.html", 200, None),
                ("static", "/files/large.bin", 200, None),
                ("threaded", "/threaded", 200, None),
                ("stream", "/stream", 200, None),
                ("nothing", f"/nothing/{number}", 404, None),
                ("upload", "/upload", 200, _UPLOAD),
            ]
        )
        fields = "Host: localhost\r\n"
        if body is not None:
            kind = "multipart/form-data; boundary=x" if body is _UPLOAD else "application/json"
            fields += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        method = "GET" if body is None else "POST"
        writer.write(f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode() + (body or b""))
        await writer.drain()
        status, keep = await _answer(reader)
        self.answers[route, status] += 1
        if status != expected and len(self.wrong) < 20:
            self.wrong.append(f"{method} {target}: {status} where {expected} was expected")
        return keep

    # -- badly behaved ------------------------------------------------------------------------

    async def _rude(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        kinds: list[Callable[[socket.socket], Awaitable[None]]] = [
            self._half_a_head,
            self._half_a_body,
            self._garbage,
            self._never_reads,
            self._leaves_a_stream,
            self._leaves_events,
            self._too_many_fields,
            self._says_nothing,
        ]
        while loop.time() < until:
            kind = self._random.choice(kinds)
            sock = socket.socket()
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, ("127.0.0.1", self.port))
                await kind(sock)
                self.faults[kind.__name__.strip("_").replace("_", " ")] += 1
            except OSError:
                self.faults["the server closed first"] += 1
            finally:
                if self._random.random() < 0.5:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

    async def _send(self, sock: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, data)

    async def _take(self, sock: socket.socket, size: int, seconds: float = 1.0) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().sock_recv(sock, size)
        return b""

    async def _half_a_head(self, sock: socket.socket) -> None:
        head = b"GET /counted/hello HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n"
        await self._send(sock, head[: self._random.randrange(1, len(head) - 1)])
        await self._take(sock, 1_000, self._random.choice([0.0, 0.1, 3.0]))

    async def _half_a_body(self, sock: socket.socket) -> None:
        await self._send(sock, b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nabc")
        await self._take(sock, 1_000, self._random.choice([0.0, 0.1, 3.0]))

    async def _garbage(self, sock: socket.socket) -> None:
        await self._send(sock, self._random.randbytes(self._random.randrange(1, 3_000)))
        await self._take(sock, 1_000)

    async def _never_reads(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await self._send(sock, b"GET /files/large.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        await asyncio.sleep(self._random.choice([0.1, 3.0]))

    async def _leaves_a_stream(self, sock: socket.socket) -> None:
        await self._send(sock, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        await self._take(sock, 20_000)

    async def _leaves_events(self, sock: socket.socket) -> None:
        await self._send(sock, b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(self._random.randrange(30)):
            await self._take(sock, 1_000)

    async def _too_many_fields(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5_000
            await self._send(sock, head)
        await self._take(sock, 1_000)

    async def _says_nothing(self, sock: socket.socket) -> None:
        await self._take(sock, 10, self._random.choice([0.5, 4.0]))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read one whole answer: its status, and whether the connection stays open."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    if fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    else:
        await reader.readexactly(int(fields.get("content-length", 0)))
    return status, fields.get("connection", "").lower() != "close"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
