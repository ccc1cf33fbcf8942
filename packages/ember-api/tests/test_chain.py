"""The plan of a chain: the order that a nest of plain functions would have."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from ember import Ember, Events, Request, Response, RouteLimits
from ember.middleware.chain import Hooks, compose
from ember.protocol import MemoryConnection
from ember.responses.conversion import convert
from ember.routing.middleware_spec import MiddlewareSpec

Next = Callable[[Request], Awaitable[Response]]
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
variable: ContextVar[str] = ContextVar("variable", default="unset")


def answer(request: Any, error: BaseException) -> Any:
    """Stands for Ember.on_error, in each of its ways."""
    text = f"{type(error).__name__}({error})"
    if "awaited" in text:

        async def later() -> Response:
            await asyncio.sleep(0)
            return Response(text, 500)

        return later()
    if "unanswerable" in text:
        raise KeyError(text)
    return Response(text, 500)


async def resolved(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


async def nested(specs: list[MiddlewareSpec], hooks: Hooks, call: Any, request: Any) -> Response:
    """What a chain has to do, said in the plainest way."""

    async def failed(error: Exception) -> Response:
        try:
            result: Response = await resolved(answer(request, error))
        except KeyError:
            return Response("Internal Server Error", 500)
        return result

    def layer(befores: Any, afters: Any, inside: Any) -> Any:
        async def run(request: Any) -> Response:
            try:
                for before, _ in befores:
                    value = await resolved(before(request))
                    if value is not None:
                        response = convert(value)
                        break
                else:
                    response = convert(await resolved(inside(request)))
            except Exception as error:  # noqa: BLE001 - whatever the case under test raises
                response = await failed(error)
            for after, _ in afters:
                try:
                    value = await resolved(after(request, response))
                    response = response if value is None else convert(value)
                except Exception as error:  # noqa: BLE001
                    response = await failed(error)
            return response

        return run

    def wrapped(around: Any, inside: Any) -> Any:
        async def run(request: Any) -> Response:
            value = await around(request, inside)
            if value is None:
                raise TypeError("owner returned None; return the response of call_next")
            return convert(value)

        return layer((), (), run)

    chain = layer(hooks.before, hooks.after, layer((), (), call))
    for spec in reversed(specs):
        if spec.around is not None:
            chain = wrapped(spec.around, chain)
        else:
            before = [(spec.before, "")] if spec.before is not None else []
            after = [(spec.after, "")] if spec.after is not None else []
            chain = layer(before, after, chain)
    response: Response = await chain(request)
    return response


def made_up(choose: random.Random, seen: list[str]) -> tuple[list[MiddlewareSpec], Hooks, Any]:
    """Steps, hooks and a handler that note what happens and do what they like."""
    count = iter(range(1000))

    def function(kind: str) -> Any:
        name = f"{kind}{next(count)}"
        does = choose.choice(["nothing"] * 6 + ["answer", "error", "awaited", "unanswerable"])
        waits, is_async = choose.random() < 0.5, choose.random() < 0.5

        def act(*arguments: Any) -> Any:
            status = arguments[1].status_code if kind == "after" else ""
            seen.append(f"{name} {status}")
            if does == "nothing":
                return "handled" if kind == "handler" else None
            if does == "answer":
                return f"answer of {name}", 203
            raise ValueError(f"{does} {name}")

        async def act_later(*arguments: Any) -> Any:
            if waits:
                await asyncio.sleep(0)
            return act(*arguments)

        return act_later if is_async else act

    def around() -> Any:
        name = f"around{next(count)}"
        does = choose.choice(["pass"] * 6 + ["twice", "none", "error", "late error", "text"])

        async def wrapper(request: Any, call_next: Next) -> Any:
            seen.append(f"{name} in")
            if does == "error":
                raise ValueError(name)
            if does == "text":
                return f"text of {name}"
            response = await call_next(request)
            if does == "twice":
                response = await call_next(request)
            seen.append(f"{name} out {response.status_code} {response.body!r}")
            if does == "late error":
                raise ValueError(f"late {name}")
            return None if does == "none" else response

        return wrapper

    specs: list[MiddlewareSpec] = []
    for _ in range(choose.randrange(6)):
        shape = choose.choice(["around", "before", "after", "both"])
        if shape == "around":
            specs.append(MiddlewareSpec("owner", around=around()))
        else:
            before = function("before") if shape != "after" else None
            after = function("after") if shape != "before" else None
            specs.append(MiddlewareSpec("owner", None, before, after))
    hooks = Hooks(
        tuple((function("before"), "hook") for _ in range(choose.randrange(3))),
        tuple((function("after"), "hook") for _ in range(choose.randrange(3))),
    )
    return specs, hooks, function("handler")


@pytest.mark.parametrize("seed", range(8))
def test_a_flat_chain_does_what_nested_functions_would(seed: int) -> None:
    choose = random.Random(seed)

    async def both() -> None:
        for _ in range(120):
            seen: list[str] = []
            specs, hooks, handler = made_up(choose, seen)
            expected = await nested(specs, hooks, handler, None)
            noted = seen.copy()
            seen.clear()
            chain = compose(specs, handler, "handler", answer, hooks)
            try:
                got = await resolved(chain.enter(None, None))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001 - which the connection has answered
                try:
                    got = await resolved(answer(None, error))
                except KeyError:
                    got = Response("Internal Server Error", 500)
            got = convert(got)
            assert seen == noted
            assert got.status_code == expected.status_code
            assert got.body == expected.body

    asyncio.run(both())


def test_in_front_of_sync_befores_the_server_gets_the_handlers_own_coroutine() -> None:
    app, given = Ember(), list[Any]()

    @app.get("/")
    async def hello() -> str:
        return "hello"

    @app.hook(Events.BEFORE_ENDPOINT)
    def first(request: Request) -> None:
        variable.set("first")

    app.add_middleware(first)
    dispatch = app.dispatch
    app.dispatch = lambda request: given.append(dispatch(request)) or given[-1]
    connection = MemoryConnection(app)
    connection.feed(HELLO)
    assert connection.take().endswith(b"hello")
    assert inspect.iscoroutine(given[0])
    assert given[0].__name__ == "hello"


def test_what_a_sync_before_refuses_is_refused_before_a_body_over_the_limit() -> None:
    app = Ember()

    @app.post("/", limits=RouteLimits(max_body_size=1))
    async def post() -> None: ...

    app.hook(Events.BEFORE_ENDPOINT)(lambda request: ("no", 401))
    connection = MemoryConnection(app)
    connection.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
    assert connection.take().startswith(b"HTTP/1.1 401 ")


def test_path_parameters_that_a_middleware_changes_reach_the_handler() -> None:
    async def around(request: Request, call_next: Next) -> Response:
        request.path_params["a"] += "!"
        return await call_next(request)

    def before(request: Request) -> None:
        request.path_params["b"] *= 2

    def nothing(request: Request) -> None: ...

    async def handler(a: str, b: int, request: Request) -> str:
        return f"{a} {b} {request.path_params}"

    for middlewares, expected in (
        ([], b"x 2 {'a': 'x', 'b': 2}"),
        ([nothing], b"x 2 {'a': 'x', 'b': 2}"),
        ([before], b"x 4 {'a': 'x', 'b': 4}"),
        ([around, before], b"x! 4 {'a': 'x!', 'b': 4}"),
    ):
        app = Ember()
        app.get("/{a}/{b:int}", middlewares=middlewares)(handler)
        connection = MemoryConnection(app)
        connection.feed(b"GET /x/2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.take().endswith(expected)


def test_a_middleware_may_change_the_limits_of_its_request() -> None:
    def generous(request: Request) -> None:
        request.limits = RouteLimits(max_body_size=100)

    async def post(request: Request) -> str:
        return str(len(await request.body()))

    app = Ember()
    app.post("/", middlewares=[generous], limits=RouteLimits(max_body_size=1))(post)
    connection = MemoryConnection(app)
    connection.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
    assert connection.take().endswith(b"\r\n\r\n2")
