"""The clients of an attack. A `probe` is well-behaved and judges; the others do what they can."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable

from fuzz.attack.lines import Line, TlsLine, reset
from fuzz.generate import Generator

#: Seconds after which an answer that a probe waits for counts as a hang.
HANG = 20.0

ROUTES = [
    *("/hello", "/numbers/7?q=1.5", "/wait?seconds=0.1", "/stubborn", "/thread", "/cached/1"),
    *("/stream", "/lines", "/events", "/broken/error", "/broken/surrogate", "/broken/base"),
    *("/broken/exit", "/broken/generator", "/broken/205", "/broken/stream", "/broken/any"),
    *("/nothing", "/metrics", "/openapi.json", "/healthz"),
]
BODIES = ["/items", "/text", "/json", "/form", "/upload", "/read", "/unread", "/hello"]
KINDS = [
    *("application/json", "application/x-www-form-urlencoded", "text/plain; charset=punycode"),
    *("multipart/form-data; boundary=x", "multipart/form-data", "text/plain; charset=utf-16", ""),
]
#: What a probe asks for, and what it must get.
PROBES = [
    ("/hello", 200, b"Hello, World!"),
    ("/numbers/7?q=1.5", 200, b'{"number":7,"q":1.5}'),
    ("/wait?seconds=0.05", 200, b"waited"),
    ("/thread", 200, b"from a thread"),
    ("/nothing", 404, None),
]


class Clients:
    """`kinds` counts what was done, `answers` and `lost` are the probes', `wrong` their finds."""

    def __init__(self, port: int, seed: int, context: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.context = context
        self.kinds: Counter[str] = Counter()
        self.answers = 0
        self.lost = 0
        self.wrong: list[str] = []
        self._random = random.Random(seed)
        self._generator = Generator(seed, [])

    async def run(self, probes: int, attackers: int, seconds: float) -> None:
        """All of them at once for so long."""
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(probes):
                group.create_task(self._probe(until))
            for _ in range(attackers):
                group.create_task(self._attack(until))

    # -- the judges ---------------------------------------------------------------------------

    async def _probe(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            try:
                reader, writer = await self._open()
            except OSError:
                self.lost += 1
                await asyncio.sleep(0.05)
                continue
            try:
                for _ in range(self._random.randrange(1, 100)):
                    if loop.time() >= until:
                        break
                    async with asyncio.timeout(HANG):
                        if not await self._ask(reader, writer):
                            break
            except TimeoutError:
                self.wrong.append("no answer for a well-behaved client")
            except (OSError, asyncio.IncompleteReadError):
                self.lost += 1
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.context is None:
            return await asyncio.open_connection("127.0.0.1", self.port)
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost"
        )

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        target, expected, content = self._random.choice(PROBES)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        body = await reader.readexactly(length)
        self.answers += 1
        # 503 is what overload gives, and may.
        if status not in (expected, 503) or (
            status == 200 and content is not None and body != content
        ):
            self.wrong.append(f"{target}: {status} {body[:80]!r}")
        return "connection: close" not in head

    # -- the others ---------------------------------------------------------------------------

    async def _attack(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        kinds: list[Callable[[Line], Awaitable[None]]] = [
            self._mutated,
            self._mutated,
            self._any_route,
            self._any_route,
            self._flood,
            self._body_broken_off,
            self._tiny_chunks,
            self._half_closed,
            self._leaves,
            self._never_reads,
            self._many_fields,
            self._silent,
            self._opens_and_resets,
        ]
        while loop.time() < until:
            kind = self._random.choice(kinds)
            line = self._line()
            try:
                await line.connect(self.port)
                await kind(line)
                self.kinds[kind.__name__.strip("_").replace("_", " ")] += 1
            except OSError:
                self.kinds["the server closed first"] += 1
                await asyncio.sleep(0.001)
            finally:
                line.close(hard=self._random.random() < 0.5)

    def _line(self) -> Line:
        # Some speak in clear text to a port that speaks TLS.
        if self.context is None or self._random.random() < 0.1:
            return Line()
        return TlsLine(self.context)

    def _head(self, target: str, method: str = "GET", *fields: str) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def _mutated(self, line: Line) -> None:
        data = self._generator.next()
        if self._random.random() < 0.5:
            route = self._random.choice(ROUTES).encode()
            data = data.replace(b" / ", b" " + route + b" ")
        for part in self._generator.cuts(data):
            await line.send(part)
            if self._random.random() < 0.1:
                await asyncio.sleep(0.005)
        await line.take(self._random.choice([0.0, 0.05, 0.5]))

    async def _any_route(self, line: Line) -> None:
        r = self._random
        if r.random() < 0.5:
            method = r.choice(["GET", "GET", "HEAD", "OPTIONS"])
            fields = ["Accept-Encoding: gzip, zstd"] if r.random() < 0.5 else []
            await line.send(self._head(r.choice(ROUTES), method, *fields))
        else:
            body = r.choice([r.randbytes(r.randrange(2_000)), b'{"name":"a"}', b"a=1&" * 500])
            kind = f"Content-Type: {r.choice(KINDS)}"
            length = f"Content-Length: {len(body)}"
            head = self._head(r.choice(BODIES), "POST", kind, length)
            await line.send(head + body)
        await line.take(r.choice([0.0, 0.05, 1.0]))

    async def _flood(self, line: Line) -> None:
        target = self._random.choice(["/hello", "/cached/2", "/nothing", "/wait?seconds=0"])
        await line.send(self._head(target) * self._random.randrange(10, 2_000))
        for _ in range(self._random.randrange(5)):
            await line.take()

    async def _body_broken_off(self, line: Line) -> None:
        framing = self._random.choice(["Content-Length: 90000", "Transfer-Encoding: chunked"])
        target = self._random.choice(BODIES)
        await line.send(self._head(target, "POST", framing) + b"5\r\nhello\r\n7\r\nwo")
        await line.take(self._random.choice([0.0, 0.1, 3.0]))

    async def _tiny_chunks(self, line: Line) -> None:
        head = self._head(self._random.choice(BODIES), "POST", "Transfer-Encoding: chunked")
        await line.send(head + b"1\r\nx\r\n" * self._random.randrange(20_000) + b"0\r\n\r\n")
        await line.take()

    async def _half_closed(self, line: Line) -> None:
        await line.send(self._head(self._random.choice(ROUTES)))
        line.half_close()
        for _ in range(self._random.randrange(20)):
            if not await line.take():
                break

    async def _leaves(self, line: Line) -> None:
        await line.send(self._head(self._random.choice(ROUTES)) * self._random.choice([1, 3]))
        await line.take(self._random.choice([0.0, 0.01, 0.1]))

    async def _never_reads(self, line: Line) -> None:
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await line.send(self._head("/stream") * 3)
        await asyncio.sleep(self._random.choice([0.1, 3.0]))

    async def _many_fields(self, line: Line) -> None:
        count = self._random.choice([100, 127, 128, 129, 20_000])
        await line.send(self._head("/hello", "GET", *(["X: y"] * count)))
        await line.take()

    async def _silent(self, line: Line) -> None:
        await line.take(self._random.choice([0.1, 3.0]))

    async def _opens_and_resets(self, line: Line) -> None:
        for _ in range(20):
            more = socket.socket()
            more.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                more.connect(("127.0.0.1", self.port))
            reset(more)
            more.close()
