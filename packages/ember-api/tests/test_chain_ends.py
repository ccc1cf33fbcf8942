"""Ends and errors of what runs in a chain: clients that leave, time limits, cancellations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from ember import Ember, Events, NotFound, Request, Response, RouteLimits
from ember.protocol import MemoryConnection

from tests.support.server import ServeFixture

Next = Callable[[Request], Awaitable[Response]]
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
variable: ContextVar[str] = ContextVar("variable", default="unset")


async def waits_around(request: Request, call_next: Next) -> Response:
    await asyncio.sleep(0)
    return await call_next(request)


async def fed(app: Ember, path: bytes = b"/", *, strict: bool = False) -> bytes:
    """What is answered to a request, once it is."""
    connection = MemoryConnection(app, strict_tasks=strict)
    connection.feed(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    sent = b""
    async with asyncio.timeout(120):
        while not sent:
            await asyncio.sleep(0)
            sent = connection.take()
    connection.lost()
    return sent


@pytest.mark.parametrize("strict", [False, True])
def test_a_client_that_leaves_cancels_the_handler_and_nothing_runs_after_it(strict: bool) -> None:
    seen: list[str] = []
    app = Ember()

    async def around(request: Request, call_next: Next) -> Response:
        try:
            return await call_next(request)
        finally:
            seen.append("around left")

    class Both:
        def before(self, request: Request) -> None:
            seen.append("before")

        def after(self, request: Request, response: Response) -> None:
            seen.append("after")

    async def leave() -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        @app.get("/", middlewares=[Both(), around, Both()])
        async def handler() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                ended.set()

        connection = MemoryConnection(app, strict_tasks=strict)
        connection.feed(HELLO)
        async with asyncio.timeout(120):
            await started.wait()
            connection.lost()
            await ended.wait()
        await asyncio.sleep(0)

    asyncio.run(leave())
    assert seen == ["before", "before", "cancelled", "around left"]


@pytest.mark.parametrize("strict", [False, True])
def test_a_handler_over_its_time_is_answered_with_503_around_which_nothing_runs(
    serve: ServeFixture, strict: bool
) -> None:
    seen: list[str] = []

    class After:
        def after(self, request: Request, response: Response) -> None:
            seen.append("after")

    app = Ember()

    @app.get("/", middlewares=[After(), waits_around], limits=RouteLimits(timeout=0.05))
    async def handler() -> None:
        await asyncio.Event().wait()

    assert asyncio.run(fed(app, strict=strict)).startswith(b"HTTP/1.1 503 ")
    assert seen == []


@pytest.mark.parametrize("strict", [False, True])
def test_a_cancellation_that_the_handler_takes_is_no_error(strict: bool) -> None:
    seen: list[str] = []

    class After:
        async def after(self, request: Request, response: Response) -> None:
            await asyncio.sleep(0)
            seen.append(f"after {response.status_code}")

    app = Ember()
    app.add_middleware(After())
    app.add_middleware(waits_around)

    @app.get("/")
    async def handler() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task.uncancel()
        await asyncio.sleep(0)
        return "went on"

    assert asyncio.run(fed(app, strict=strict)).endswith(b"went on")
    assert seen == ["after 200"]


@pytest.mark.parametrize("strict", [False, True])
def test_timeouts_task_groups_and_anyio_work_across_a_chain(strict: bool) -> None:
    tasks: list[Any] = []

    async def timeout(request: Request, call_next: Next) -> Response:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(120):
            return await call_next(request)

    async def too_short(request: Request, call_next: Next) -> Response:
        if request.path != "/slow":
            return await call_next(request)
        try:
            async with asyncio.timeout(0.01):
                return await call_next(request)
        except TimeoutError:
            return Response("too slow", 504)

    async def group(request: Request, call_next: Next) -> Response:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            return await call_next(request)

    async def scope(request: Request, call_next: Next) -> Response:
        with anyio.move_on_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep, 0)
                return await call_next(request)
        raise AssertionError

    async def elsewhere(request: Request, call_next: Next) -> Response:
        variable.set("elsewhere")
        task: asyncio.Task[Response] = asyncio.create_task(call_next(request))  # type: ignore[arg-type]
        return await asyncio.shield(task)

    async def waited_for(request: Request, call_next: Next) -> Response:
        return await asyncio.wait_for(call_next(request), 120)

    class After:
        def after(self, request: Request, response: Response) -> None:
            tasks.append(asyncio.current_task())

    app = Ember()
    app.add_middleware(After())
    for middleware in (timeout, too_short, group, scope):
        app.add_middleware(middleware)
    app.add_middleware(lambda request: None)

    @app.get("/", middlewares=[elsewhere, waited_for])
    async def handler() -> str:
        await asyncio.sleep(0)
        return variable.get()

    @app.get("/slow")
    async def slow() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.Event().wait()

    assert asyncio.run(fed(app, strict=strict)).endswith(b"elsewhere")
    assert len(tasks) == 2
    assert len(set(tasks)) == 1
    tasks.clear()
    answer = asyncio.run(fed(app, b"/slow", strict=strict))
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert answer.endswith(b"too slow")
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


def test_errors_of_a_handler_and_of_async_hooks_are_answered_over_the_wire(
    serve: ServeFixture,
) -> None:
    app = Ember()

    @app.hook(Events.AFTER_ENDPOINT)
    async def late(request: Request, response: Response) -> None:
        await asyncio.sleep(0)
        response.headers["X-Late"] = str(response.status_code)

    @app.hook(Events.BEFORE_ENDPOINT)
    async def early(request: Request) -> None:
        await asyncio.sleep(0)
        if request.path == "/early":
            raise NotFound("before")

    @app.get("/{name}")
    async def handler(name: str) -> str:
        await asyncio.sleep(0)
        if name == "fails":
            raise NotFound("inside")
        return name

    server = serve(app)
    for path, status in (("/x", 200), ("/early", 404), ("/fails", 404), ("/x", 200)):
        response = server.get(path)
        assert (response.status, response.header("x-late")) == (status, str(status))


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_handler_sees_the_error_as_the_one_being_handled(is_async: bool) -> None:
    seen: list[Any] = []
    app = Ember()

    def note(error: BaseException) -> str:
        seen.append(sys.exc_info()[1] is error)
        return "noted"

    async def handle_later(request: Request, error: ValueError) -> str:
        seen.append(sys.exc_info()[1] is error)
        await asyncio.sleep(0)
        return note(error)

    handle: Any = handle_later if is_async else lambda request, error: note(error)
    app.handle(ValueError)(handle)

    async def fails() -> None:
        raise ValueError

    app.get("/bare")(fails)
    app.get("/", middlewares=[lambda request: None, waits_around])(fails)
    for path in (b"/", b"/bare"):
        assert asyncio.run(fed(app, path)).endswith(b"noted")
    if is_async:
        assert seen == [True] * 4
    else:
        assert seen[0] is True
