"""The body of a request is awaited in one way, however its bytes fell into packets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ember.exceptions import HTTPError
from ember.limits import RouteLimits
from ember.protocol import MemoryConnection
from ember.request import Request

from tests.support.answers import read_answers
from tests.support.app import App

pytestmark = pytest.mark.once_per_build

Handler = Callable[[Request], Awaitable[object]]
READERS = ["body", "json", "text", "form"]


def outcome(
    handler: Handler,
    body: bytes,
    cut: int | None,
    field: str = "",
) -> tuple[int, bytes]:
    """The answer to `body`, sent up to `cut` with the head and the rest later; None: at once."""
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n{field}\r\n"
    ).encode()

    async def main() -> bytes:
        app = App({"/": handler})
        connection = MemoryConnection(app)
        data = head + body
        at = len(data) if cut is None else len(head) + cut
        for piece in (data[:at], data[at:]):
            if piece:
                connection.feed(piece)
            for _ in range(10):
                await asyncio.sleep(0)
        return connection.take()

    (answer,) = read_answers(asyncio.run(main()))
    return answer.status, answer.body


def outcomes(handler: Handler, body: bytes, **options: Any) -> tuple[int, bytes]:
    """The only outcome, however `body` is cut."""
    found = {outcome(handler, body, cut, **options) for cut in (None, 0, 1, len(body) - 1)}
    assert len(found) == 1, found
    return found.pop()


@pytest.mark.parametrize("reader", READERS)
def test_it_is_a_coroutine_for_asyncio(reader: str) -> None:
    async def handler(request: Request) -> object:
        asked = getattr(request, reader)()
        assert asyncio.iscoroutine(asked)
        await asked
        with pytest.raises(RuntimeError, match="already awaited"):
            await asked
        unused = getattr(request, reader)()
        unused.close()
        with pytest.raises(RuntimeError, match="already awaited"):
            await unused
        return "ok"

    assert outcomes(handler, b'{"a":1}') == (200, b"ok")


@pytest.mark.parametrize("reader", READERS)
def test_it_can_be_a_task_of_its_own(reader: str) -> None:
    async def handler(request: Request) -> object:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(getattr(request, reader)()) for _ in range(3)]
        await asyncio.wait_for(getattr(request, reader)(), 5)
        (gathered,) = await asyncio.gather(getattr(request, reader)())
        assert all(str(task.result()) == str(gathered) for task in tasks)
        return str(gathered)

    assert outcomes(handler, b'{"a":1}')[0] == 200


def test_all_readers_at_once_get_the_whole_body() -> None:
    async def handler(request: Request) -> object:
        return [str(r) for r in await asyncio.gather(*(getattr(request, n)() for n in READERS))]

    assert outcomes(handler, b"[1]")[0] == 200


@pytest.mark.parametrize(
    ("reader", "body", "field"),
    [
        ("json", b"{x}", ""),
        ("json", b"\xff\xfe", ""),
        ("text", b"\xff\xfe\xff", ""),
        ("body", b"not gzip at all", "Content-Encoding: gzip\r\n"),
        ("json", b"not gzip at all", "Content-Encoding: gzip\r\n"),
        ("body", b"body", "Content-Encoding: unheard-of\r\n"),
        ("json", b"{}", "Content-Encoding: unheard-of\r\n"),
    ],
)
def test_its_errors_come_at_the_await(reader: str, body: bytes, field: str) -> None:
    async def handler(request: Request) -> object:
        asked = getattr(request, reader)()
        await asyncio.sleep(0)
        try:
            await asked
        except HTTPError as error:
            return f"{type(error).__name__}: {error}"
        raise AssertionError("no error")

    status, text = outcomes(handler, body, field=field)
    assert status == 200
    assert text.startswith((b"BadRequest", b"UnsupportedMediaType"))


@pytest.mark.parametrize(
    "value", [b"null", b"[]", b'[[1,2],"x"]', b"{}", b"1", b'"text"', b"false"]
)
def test_every_json_value_comes_out_as_it_is(value: bytes) -> None:
    async def handler(request: Request) -> object:
        return {"value": await request.json()}

    assert outcomes(handler, value)[1] == b'{"value":' + value + b"}"


def test_a_cancelled_attempt_loses_nothing() -> None:
    async def handler(request: Request) -> object:
        attempt = asyncio.ensure_future(request.body())
        await asyncio.sleep(0)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        return await request.body()

    assert outcomes(handler, b"0123456789") == (200, b"0123456789")


def test_what_the_stream_took_is_gone() -> None:
    async def handler(request: Request) -> object:
        taken = b"".join([piece async for piece in request.stream])
        try:
            await request.body()
        except RuntimeError as error:
            return taken + b" " + str(error).encode()
        raise AssertionError("read twice")

    status, body = outcomes(handler, b"0123456789")
    assert (status, body[:31]) == (200, b"0123456789 the request body was")


def test_what_body_gave_is_streamed_again() -> None:
    async def handler(request: Request) -> object:
        whole = await request.body()
        taken = b"".join([piece async for piece in request.stream])
        return whole + taken + await request.body()

    assert outcomes(handler, b"0123456789") == (200, b"0123456789" * 3)


def test_a_request_without_a_body_may_be_read_in_any_way() -> None:
    async def handler(request: Request) -> object:
        taken = b"".join([piece async for piece in request.stream])
        return taken + await request.body()

    assert outcome(handler, b"", None) == (200, b"")


@pytest.mark.parametrize("cuts", [1, 1000])
def test_a_chunk_that_says_it_crosses_the_limit_is_refused_at_its_size(cuts: int) -> None:
    async def handler(request: Request) -> object:
        return await request.body()

    async def main() -> bytes:
        app = App({"/": handler}, route_limits={"/": RouteLimits(max_body_size=10)})
        connection = MemoryConnection(app)
        data = (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n"
        )
        for at in range(0, len(data), cuts):
            assert connection.take() == b""
            connection.feed(data[at : at + cuts])
            for _ in range(5):
                await asyncio.sleep(0)
        return connection.take()

    (answer,) = read_answers(asyncio.run(main()))
    assert answer.status == 413
