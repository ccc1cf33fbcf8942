"""Requests whose Upgrade is accepted, with bytes behind them: the codec gets each of these once and
in order, whatever they are and however they are cut, in every build."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from ember._build import PURE
from ember.limits import ServerLimits
from ember.protocol.server.codec import Output, Upgrade
from ember.protocol.server.pure.memory import MemoryConnection as PureConnection
from ember.response import Response

from fuzz.engine import Finding, wait_idle
from fuzz.generate import Generator
from fuzz.kept import comparable, waits_for_more

#: The byte at which the codec closes.
END = b"\x04"
UPGRADES = (
    b"GET /now HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n",
    b"GET /later HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
)
BEFORE = (
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
)


class Echo:
    """Sends back what it gets, up to END; says goodbye when its peer does."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def data_received(self, data: bytes) -> None:
        before, end, _ = data.partition(END)
        self.output.write(before + end)
        if end:
            self.output.close()

    def eof_received(self) -> None:
        self.output.write(b"goodbye")
        self.output.close()

    def connection_lost(self) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def timed_out(self) -> None:
        raise AssertionError("nothing was expected")

    def drain(self) -> None:
        raise AssertionError("no server stops here")


class App:
    """Upgrades at `/now` and `/later`; answers the rest with a line."""

    def __init__(self) -> None:
        self.limits = ServerLimits()
        self.upgrades = 0

    def dispatch(self, request: Any) -> object:
        if request.raw_path == b"/now":
            return self.upgrade()
        if request.raw_path in (b"/later", b"/wait"):
            return self.later(request.raw_path)
        return Response(request.method.encode("latin-1"), 200, None, "text/plain")

    def upgrade(self) -> Response:
        self.upgrades += 1
        return Upgrade("echo", Echo)

    async def later(self, path: bytes) -> Response:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.upgrade() if path == b"/later" else Response(b"waited")

    def into_response(self, request: Any, value: object) -> Any:
        raise TypeError(f"the fuzzer returns responses only, not {type(value).__name__}")

    def on_error(self, request: Any, error: BaseException) -> Any:
        return Response(str(error).encode(), getattr(error, "status", 500))


class UpgradeFuzzer:
    """`next()` makes an input, `check` plays it; `upgraded` counts what codecs took over."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self.upgraded = 0
        self._random = random.Random(seed)
        self._generator = Generator(seed, corpus)
        self._builds: list[tuple[str, Callable[..., Any]]] = [("pure", PureConnection)]
        if not PURE:
            from ember.protocol import MemoryConnection

            self._builds.append(("compiled", MemoryConnection))

    def next(self) -> tuple[bytes, bytes | None]:
        """An input, and what the codec has to send back; None: the requests were changed, and only
        the builds are compared."""
        r = self._random
        behind = r.choice((b"", self._generator.next(), r.randbytes(r.randrange(300))))
        if r.random() < 0.7:
            behind = behind.replace(END, b"?")
        before = b"".join(r.choice(BEFORE) for _ in range(r.choice((0, 0, 1, 3))))
        head = before + r.choice(UPGRADES)
        if r.random() < 0.3:
            changed = bytearray(head)
            at = r.randrange(len(changed))
            changed[at : at + r.randrange(3)] = r.choice((b"", b"\r", b"\n", b" ", b"x", b"\0"))
            return bytes(changed) + behind, None
        taken, end, _ = behind.partition(END)
        return head + behind, taken + end if end else taken + b"goodbye"

    def cuts(self, data: bytes) -> list[bytes]:
        """`data` in random pieces."""
        return self._generator.cuts(data)

    async def check(self, data: bytes, expected: bytes | None, pieces: Sequence[bytes]) -> None:
        """Raises `Finding`."""
        for cut in ([data], pieces):
            found = [(name, *await self._run(made, cut)) for name, made in self._builds]
            for name, closed, sent in found:
                if expected is not None and not (
                    closed and sent.partition(b"HTTP/1.1 101 ")[2].endswith(b"\r\n\r\n" + expected)
                ):
                    raise Finding(f"{name}: expected {expected!r} at the end of {sent!r}")
            results = [(closed, comparable(sent)) for _, closed, sent in found]
            for other in results[1:]:
                if results[0] != other and not waits_for_more(results[0], other):
                    raise Finding(f"pure {results[0]!r} and compiled {other!r}")

    async def _run(self, made: Callable[..., Any], pieces: Sequence[bytes]) -> tuple[bool, bytes]:
        """Whether the connection has ended, and what it has sent."""
        app = App()
        connection = made(app)
        sent = b""
        try:
            for piece in pieces:
                if connection.closed:
                    break
                connection.feed(piece)
                sent += await wait_idle(connection)
            if not connection.closed and app.upgrades:
                connection.eof()
                sent += await wait_idle(connection)
            closed = connection.closed
        finally:
            connection.lost()
            await asyncio.sleep(0)
        self.upgraded += app.upgrades
        return closed, sent
