"""`request.after_response`: work that follows the answer, in the handler's own task."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable

import pytest
from ember.protocol import MemoryConnection
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import DEADLINE, Running

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Serve = Callable[[object], Running]


def test_runs_in_order_after_the_answer_was_written() -> None:
    seen: list[bytes] = []

    async def handler(request: Request) -> str:
        async def note(name: bytes) -> None:
            seen.append(name + connection.take()[:15])

        request.after_response(lambda: note(b"1 "))
        request.after_response(lambda: note(b"2 "))
        return "hello"

    connection = MemoryConnection(App({"/": handler}))
    connection.feed(GET)
    assert seen == [b"1 HTTP/1.1 200 OK", b"2 "]


def test_runs_for_a_handler_that_answers_without_a_task() -> None:
    done: list[bool] = []

    def handler(request: Request) -> str:
        async def note() -> None:
            done.append(True)

        request.after_response(note)
        return "hello"

    connection = MemoryConnection(App({"/": handler}))
    connection.feed(GET)
    assert connection.take().endswith(b"hello")
    assert done == [True]


def test_the_client_has_the_answer_while_the_work_still_waits(serve: Serve) -> None:
    release = threading.Event()
    finished = threading.Event()

    async def handler(request: Request) -> str:
        task = asyncio.current_task()

        async def work() -> None:
            assert asyncio.current_task() is task
            while not release.is_set():
                await asyncio.sleep(0.001)
            finished.set()

        request.after_response(work)
        return "hello"

    with serve(App({"/": handler})).connect() as client:
        client.send(GET)
        assert client.recv_response().body == b"hello"
        # The connection does not wait for it either.
        client.send(GET)
        assert client.recv_response().body == b"hello"
        assert not finished.is_set()
        release.set()
        assert finished.wait(DEADLINE)


def test_what_was_entered_before_the_answer_can_be_left_after_it(serve: Serve) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    values: list[str] = []
    done = threading.Event()

    async def handler(request: Request) -> str:
        group = asyncio.TaskGroup()
        await group.__aenter__()
        token = variable.set("inside")

        async def leave() -> None:
            await asyncio.sleep(0)
            await group.__aexit__(None, None, None)
            values.append(variable.get())
            variable.reset(token)
            values.append(variable.get())
            done.set()

        request.after_response(leave)
        return "hello"

    with serve(App({"/": handler})).connect() as client:
        client.send(GET)
        assert client.recv_response().body == b"hello"
    assert done.wait(DEADLINE)
    assert values == ["inside", "outside"]


def test_a_stream_ends_first(serve: Serve) -> None:
    order: list[str] = []
    done = threading.Event()

    async def handler(request: Request) -> StreamingResponse:
        async def work() -> None:
            order.append("after")
            done.set()

        async def body() -> object:
            yield b"a"
            await asyncio.sleep(0)
            order.append("streamed")
            yield b"b"

        request.after_response(work)
        return StreamingResponse(body())  # type: ignore[arg-type]

    with serve(App({"/": handler})).connect() as client:
        client.send(GET)
        assert client.recv_response().body == b"ab"
    assert done.wait(DEADLINE)
    assert order == ["streamed", "after"]


def test_one_that_fails_is_logged_and_the_next_still_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[bool] = []

    async def handler(request: Request) -> str:
        async def fails() -> None:
            raise RuntimeError("the disk is full")

        async def works() -> None:
            done.append(True)

        request.after_response(fails)
        request.after_response(works)
        return "hello"

    connection = MemoryConnection(App({"/": handler}))
    connection.feed(GET)
    assert connection.take().endswith(b"hello")
    assert done == [True]
    assert "the disk is full" in caplog.text


def test_runs_when_the_handler_fails_and_when_the_client_leaves(serve: Serve) -> None:
    done = threading.Semaphore(0)
    waiting = threading.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.release()

    async def fails(request: Request) -> str:
        request.after_response(work)
        raise RuntimeError("no")

    async def waits(request: Request) -> str:
        request.after_response(work)
        waiting.set()
        await asyncio.sleep(3600)
        return "never"

    running = serve(App({"/": fails, "/waits": waits}))
    with running.connect() as client:
        client.send(GET)
        assert client.recv_response().status == 500
        assert done.acquire(timeout=DEADLINE)
    with running.connect() as client:
        client.send(GET.replace(b"/ ", b"/waits ", 1))
        assert waiting.wait(DEADLINE)
    assert done.acquire(timeout=DEADLINE)
