"""One bound handler behind a real connection in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from ember.binding import Binding, InvalidRequest, compile_binding
from ember.exceptions import HTTPError
from ember.limits import ServerLimits
from ember.protocol import MemoryConnection
from ember.request import Request
from ember.response import ProblemResponse, Response
from ember.responses.conversion import convert

from tests.support.waiting import DEADLINE


class Answer:
    """A parsed answer."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.status = int(self.head.split(" ")[1])

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def errors(self) -> dict[str, str]:
        """Place to type of each error of a 422."""
        assert self.status == 422, (self.status, self.body)
        return {".".join(map(str, f["loc"])): f["type"] for f in self.json["errors"]}

    @property
    def messages(self) -> dict[str, str]:
        """Place to message of each error of a 422."""
        assert self.status == 422, (self.status, self.body)
        return {".".join(map(str, f["loc"])): f["msg"] for f in self.json["errors"]}

    @property
    def detail(self) -> str:
        """What the problem says."""
        return str(self.json["detail"])


class BoundApp:
    """Every request goes to one bound handler."""

    def __init__(self, binding: Binding, values: list[Any]) -> None:
        self.limits = ServerLimits()
        self.binding = binding
        self.values = values
        self.errors: list[BaseException] = []
        self.requests: list[Request] = []

    def dispatch(self, request: Request) -> object:
        self.requests.append(request)
        return self.binding.call(request, self.values)

    def into_response(self, request: Request, value: object) -> Response:
        return convert(value)

    def on_error(self, request: Request, error: BaseException) -> Response:
        self.errors.append(error)
        if isinstance(error, InvalidRequest):
            return ProblemResponse(422, error.detail, extensions=error.extensions)
        if isinstance(error, HTTPError):
            return ProblemResponse(error.status, error.detail)
        return ProblemResponse(500, repr(error))


class Ask(Protocol):
    """`ask(handler, "GET", "/x?y=1", ...)`: what the client gets."""

    def __call__(
        self,
        handler: Callable[..., Any],
        target: str = "/",
        *,
        method: str = ...,
        body: Any = ...,
        content_type: str | None = ...,
        headers: dict[str, str] | None = ...,
        path: dict[str, Any] | None = ...,
        **options: Any,
    ) -> Answer: ...


@pytest.fixture
def ask() -> Ask:
    """Bind a handler and send it one request. `path`: the converted values of its path parameters.

    A `body` that is not bytes is sent as JSON.
    """

    def send(
        handler: Callable[..., Any],
        target: str = "/",
        *,
        method: str = "GET",
        body: Any = None,
        content_type: str | None = None,
        headers: dict[str, str] | None = None,
        path: dict[str, Any] | None = None,
        **options: Any,
    ) -> Answer:
        path = path or {}
        binding = compile_binding(
            handler,
            {name: type(value) for name, value in path.items()},
            methods=[method],
            where=f'route "{method} /" (test)',
            **options,
        )
        app = BoundApp(binding, list(path.values()))
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            content_type = content_type or "application/json"
        lines = [f"{method} {target} HTTP/1.1", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
        answer = asyncio.run(_exchange(app, data))
        for error in app.errors:
            if not isinstance(error, HTTPError):
                raise error
        return answer

    return send


async def _exchange(app: BoundApp, data: bytes) -> Answer:
    connection = MemoryConnection(app)
    connection.feed(data)
    received = connection.take()
    async with asyncio.timeout(DEADLINE):
        while not _complete(received):
            await asyncio.sleep(0)
            received += connection.take()
        # What follows the answer belongs to it.
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
    return Answer(received + connection.take())


def _complete(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
        if line.startswith(b"transfer-encoding:"):
            return body.endswith(b"0\r\n\r\n")
    return True
