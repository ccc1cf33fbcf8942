"""Kept answers against the answers that the application gives itself: the same bytes, whatever is
sent and however it is cut."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ember._build import PURE
from ember.limits import ServerLimits
from ember.protocol import KeptAnswers, Tally
from ember.protocol.server.pure.memory import MemoryConnection as PureConnection
from ember.response import Response

from fuzz.engine import Finding, wait_idle

BODIES = {"/kept": b"what is kept", "/kept?b=c": b"", "/long": b"z" * 20_000}
HOSTS = (b"x", b"a", b"y", b"", b"localhost")
#: Whether the connection was closed, and what was sent.
Result = tuple[bool, bytes]

_DATE = re.compile(rb"\r\nDate: [^\r]*")
_REFUSAL = re.compile(rb"HTTP/1\.1 [45]\d\d")


class Keeper:
    """Answers each target of BODIES with its body; with `keep`, the connection may do it."""

    def __init__(self, *, keep: bool) -> None:
        self.limits = ServerLimits()
        self.tally = Tally()
        self.kept_answers = KeptAnswers()
        kept = itertools.product(BODIES, HOSTS) if keep else ()
        for target, host in kept:
            now = time.monotonic()
            one = self.kept_answers.keep(
                f"GET {target}".encode(),
                self.answer(BODIES[target] + host),
                host=host,
                scheme="http",
                stored_at=now,
                fresh_until=math.inf,
                tally=self.tally,
            )
            assert PURE or one is not None

    def answer(self, body: bytes) -> Any:
        return Response(body, 200, {"X-Cache": "HIT", "Age": "0"}, "text/plain")

    def dispatch(self, request: Any) -> object:
        query = f"?{request.query_string}" if request.query_string else ""
        target = request.raw_path.decode("latin-1") + query
        if request.method in ("GET", "HEAD") and target in BODIES:
            # As an answer with absolute URLs would, it says by which host it was asked for.
            return self.answer(BODIES[target] + request.host.encode("latin-1"))
        return Response(f"{request.method} {target}".encode("latin-1"), 200, None, "text/plain")

    def into_response(self, request: Any, value: object) -> Any:
        raise TypeError(f"the fuzzer returns responses only, not {type(value).__name__}")

    def on_error(self, request: Any, error: BaseException) -> Any:
        return Response(str(error).encode(), getattr(error, "status", 500))


class KeptFuzzer:
    """Checks inputs; `given` counts the answers that no application was asked for."""

    def __init__(self) -> None:
        self.given = 0
        self._builds: list[tuple[str, Callable[..., Any], bool]] = [("pure", PureConnection, False)]
        if not PURE:
            from ember.protocol import MemoryConnection

            self._builds.append(("compiled", MemoryConnection, False))
            self._builds.append(("compiled, kept", MemoryConnection, True))

    async def check(self, data: bytes, pieces: Sequence[bytes]) -> None:
        """Raises `Finding`."""
        for cut in ([data], pieces):
            outcomes = [(name, await self._run(c, k, cut)) for name, c, k in self._builds]
            for one, other in pairwise(outcomes):
                same = one[1] == other[1]
                if one[0] == "pure":
                    same = same or waits_for_more(one[1], other[1])
                if not same:
                    raise Finding(f"{one} and {other} differ")

    async def _run(
        self, connection: Callable[..., Any], keep: bool, pieces: Sequence[bytes]
    ) -> Result:
        app = Keeper(keep=keep)
        memory = connection(app)
        sent = b""
        try:
            for piece in pieces:
                if memory.closed:
                    break
                memory.feed(piece)
                sent += await wait_idle(memory)
            closed = memory.closed
        finally:
            memory.lost()
            await asyncio.sleep(0)
        self.given += app.tally.hits
        return closed, comparable(sent)


def waits_for_more(pure: Result, compiled: Result) -> bool:
    """The compiled build refuses a line before its end has come."""
    refusal = _REFUSAL.search(compiled[1])
    return refusal is not None and not pure[0] and pure[1] == compiled[1][: refusal.start()]


def comparable(sent: bytes) -> bytes:
    """Without the dates, and of a refusal, which is the last answer, no more than its status."""
    sent = _DATE.sub(b"", sent)
    refusal = _REFUSAL.search(sent)
    return sent if refusal is None else sent[: refusal.end()]


_AIMED = {b" / ": b" /kept ", b" /a ": b" /long ", b" /a?b=c ": b" /kept?b=c "}


def aimed(data: bytes) -> bytes:
    """The input with kept targets in the places of some others."""
    for other, target in _AIMED.items():
        data = data.replace(other, target)
    return data
