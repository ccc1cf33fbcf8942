"""Runs inputs through every build of Ember and through the peers, and finds what does not fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from ember._build import PURE
from ember.limits import RouteLimits, ServerLimits
from ember.protocol.server.pure.memory import MemoryConnection as PureConnection
from ember.response import Response

from fuzz import peers, rules
from tests.support.answers import Incomplete, Reader

Summary = tuple[bool, list[tuple[int, Any]]]


class Echo:
    """Answers with what it saw: method, path, query, body."""

    def __init__(self) -> None:
        self.limits = ServerLimits()
        self.failures: list[BaseException] = []
        self.methods: list[str] = []
        #: a request was answered without its body
        self.unread = False
        #: what was taken whole: method, target, body
        self.requests: list[tuple[str, str, bytes]] = []

    def dispatch(self, request: Any) -> object:
        self.methods.append(request.method)
        if request.raw_path == b"/ten":
            request.limits = RouteLimits(max_body_size=10)
        if request.raw_path == b"/unread":
            self.unread = True
            return "unread"
        return self.handle(request)

    async def handle(self, request: Any) -> str:
        body = await request.body()
        query = f"?{request.query_string}" if request.query_string else ""
        target = request.raw_path.decode("latin-1") + query
        self.requests.append((request.method, target, body))
        return json.dumps(
            {
                "method": request.method,
                "path": request.raw_path.decode("latin-1"),
                "query": request.query_string,
                "version": request.http_version,
                "host": request.host,
                "headers": [
                    [n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers.raw
                ],
                "body": body.decode("latin-1"),
            }
        )

    def into_response(self, request: Any, value: object) -> Any:
        raise TypeError(f"the fuzzer returns str only, not {type(value).__name__}")

    def on_error(self, request: Any, error: BaseException) -> Any:
        status = getattr(error, "status", 500)
        if status == 500:
            self.failures.append(error)
        return Response(str(error), status)


class Build:
    """One build of Ember."""

    def __init__(self, name: str, connection: Callable[..., Any]) -> None:
        self.name = name
        self._connection = connection

    async def run(self, pieces: Sequence[bytes]) -> Outcome:
        """What this build does with `pieces`."""
        app = Echo()
        connection = self._connection(app)
        sent = b""
        try:
            for piece in pieces:
                if connection.closed:
                    break
                connection.feed(piece)
                sent += await wait_idle(connection)
            return Outcome(self.name, sent, connection.closed, app)
        finally:
            connection.lost()
            await asyncio.sleep(0)


class Outcome:
    """Answers, and what the application saw."""

    def __init__(self, build: str, sent: bytes, closed: bool, app: Echo) -> None:
        self.build = build
        self.failures = app.failures
        self.closed = closed
        self.answers: list[tuple[int, Any]] = []
        self.requests = app.requests
        self.unread = app.unread
        self.refused: str | None = None
        try:
            self._read(sent, app.methods)
        except (Incomplete, AssertionError, ValueError) as error:
            self.failures.append(error)

    def _read(self, sent: bytes, methods: list[str]) -> None:
        left = [sent]
        reader = Reader(lambda: left.pop() if left else b"")
        names = iter(methods)
        while reader.buffer or reader.fill():
            answer = reader.head()
            if answer.status >= 400:
                # The last one; its content is missing when the broken request was a HEAD.
                self._take(answer.status, reader.rest())
            elif answer.status == 100:
                self._take(100, b"")
            else:
                method = next(names, "GET")
                length = int(answer.header("content-length") or 0)
                self._take(answer.status, b"" if method == "HEAD" else reader.take(length))

    def _take(self, status: int, body: bytes) -> None:
        if status >= 400:
            # Of a refusal the status counts; its words may differ from build to build.
            self.answers.append((status, None))
            if body.startswith(b"{"):
                self.refused = json.loads(body)["detail"]
            elif body:
                self.refused = body.decode("latin-1").partition(" ")[2]
        elif status == 200 and body.startswith(b"{"):
            self.answers.append((status, json.loads(body)))
        else:
            self.answers.append((status, body))

    def summary(self) -> Summary:
        """What must be the same for the same bytes."""
        return self.closed, self.answers


async def wait_idle(connection: Any) -> bytes:
    """Let the handlers go on until nothing more comes out, and nothing waits for its turn (on a
    slow machine a connection has soon had its share of one)."""
    sent: bytes = connection.take()
    loop: Any = asyncio.get_running_loop()
    quiet = 0
    while quiet < 3:
        await asyncio.sleep(0)
        more = connection.take()
        sent += more
        quiet = 0 if more or loop._ready else quiet + 1
    return sent


def builds() -> list[Build]:
    """The pure build, and the compiled one where it was built."""
    found = [Build("pure", PureConnection)]
    if not PURE:
        from ember.protocol import MemoryConnection

        found.append(Build("compiled", MemoryConnection))
    return found


class Finding(Exception):
    """Something that does not fit."""


class Fuzzer:
    """Checks inputs. `refusals` counts, by reason, what Ember refused and a peer took."""

    def __init__(self) -> None:
        self.builds = builds()
        self.refusals: dict[str, int] = {}
        self.accepted = 0

    async def check(self, data: bytes, pieces: Sequence[bytes]) -> None:
        """Raises `Finding`."""
        whole = [await build.run([data]) for build in self.builds]
        split = [await build.run(pieces) for build in self.builds]
        for outcome in whole + split:
            if outcome.failures:
                raise Finding(f"{outcome.build}: {outcome.failures[0]!r}")
        first = whole[0]
        for build, outcome in zip(self.builds[1:], whole[1:], strict=True):
            await self._same(first, outcome, build, [data])
        for build, outcome in zip(self.builds[1:], split[1:], strict=True):
            await self._same(split[0], outcome, build, pieces)
        for one, other in zip(whole, split, strict=True):
            if not agrees_when_split(one, other):
                raise Finding(
                    f"{one.build}: whole {one.summary()!r} and split {other.summary()!r} differ"
                )
        self._against_peers(data, first)

    async def _same(
        self, pure: Outcome, other: Outcome, build: Build, pieces: Sequence[bytes]
    ) -> None:
        """Both builds answer the same. One may refuse a line before its end has come, when nothing
        that could follow would save it: then the other refuses it, with that status, at its end."""
        if pure.closed != other.closed:
            patient = self.builds[0] if other.closed else build
            later = await patient.run([*pieces, b"\r\n\r\n"])
            if other.closed:
                pure = later
            else:
                other = later
        if pure.summary() != other.summary():
            raise Finding(f"pure {pure.summary()!r} and {other.build} {other.summary()!r}")

    def _against_peers(self, data: bytes, ember: Outcome) -> None:
        seen = [peers.with_httptools(data), peers.with_h11(data)]
        self.accepted += len(ember.requests)
        if ember.unread:
            return
        for number, (method, target, body) in enumerate(ember.requests):
            judges = [s for s in seen if not s.halted or len(s.requests) > number]
            if judges and not any(
                len(s.requests) > number and same(s.requests[number], method, target, body)
                for s in judges
            ):
                reasons = [name for name, rule in rules.LOOSER.items() if rule(data)]
                if not reasons or all(len(s.requests) > number for s in judges):
                    raise Finding(
                        f"Ember took {(method, target, body)!r}; httptools {seen[0].requests!r} "
                        f"({seen[0].refused}), h11 {seen[1].requests!r} ({seen[1].refused})"
                    )
        if ember.refused is not None:
            further = [s for s in seen if len(s.requests) > len(ember.requests)]
            if further:
                rule = rules.STRICTER.get(ember.refused)
                if rule is None:
                    raise Finding(f"no rule says why Ember refuses: {ember.refused!r}")
                parts = (part + b"\r\n\r\n" for part in data.split(b"\r\n\r\n"))
                if not rule(data) and not any(map(rule, parts)):
                    raise Finding(f"refused without its reason in the bytes: {ember.refused!r}")
                self.refusals[ember.refused] = self.refusals.get(ember.refused, 0) + 1


def same(seen: tuple[str, bytes, bytes], method: str, target: str, body: bytes) -> bool:
    """Whether a peer saw the same request. Absolute targets are compared by their end."""
    theirs = seen[1].decode("latin-1")
    return (
        seen[0] == method
        and seen[2] == body
        and (theirs == target or not theirs.startswith("/") or theirs.rstrip("?") == target)
    )


def agrees_when_split(whole: Outcome, split: Outcome) -> bool:
    """Whether the split bytes were answered as the whole ones.

    Two differences are right: 100 Continue is only sent to a client whose body has not come yet,
    and an answer that does not wait for the body can be out before the body turns out to be broken.
    """
    mine = [a for a in whole.answers if a[0] != 100]
    theirs = [a for a in split.answers if a[0] != 100]
    if whole.closed == split.closed and mine == theirs:
        return True
    return split.unread and whole.closed == split.closed and len(mine) <= len(theirs)
