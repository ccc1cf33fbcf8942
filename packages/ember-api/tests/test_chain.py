"""The plan of a chain and the awaitable that follows it: order, ends from outside, tasks."""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from ember import Ember, Events, NotFound, Request, Response, RouteLimits
from ember.into_response import convert
from ember.middleware.chain import Hooks, compose
from ember.middleware.flow import Flow, Plan
from ember.middleware.forms import Step
from ember.protocol import MemoryConnection

from tests.support.server import ServeFixture

Next = Callable[[Request], Awaitable[Response]]
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
variable: ContextVar[str] = ContextVar("variable", default="unset")


# -- the plan: as a nest of plain functions would do it -----------------------------------------


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


async def settled(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


async def nested(steps: list[Step], hooks: Hooks, call: Any, request: Any) -> Response:
    """What a chain has to do, said in the plainest way."""

    async def failed(error: Exception) -> Response:
        try:
            result: Response = await settled(answer(request, error))
        except KeyError:
            return Response("Internal Server Error", 500)
        return result

    def layer(befores: Any, afters: Any, inside: Any) -> Any:
        async def run(request: Any) -> Response:
            try:
                for before, _ in befores:
                    value = await settled(before(request))
                    if value is not None:
                        response = convert(value)
                        break
                else:
                    response = convert(await settled(inside(request)))
            except Exception as error:  # noqa: BLE001 - whatever the case under test raises
                response = await failed(error)
            for after, _ in afters:
                try:
                    value = await settled(after(request, response))
                    response = response if value is None else convert(value)
                except Exception as error:  # noqa: BLE001
                    response = await failed(error)
            return response

        return run

    def wrapped(around: Any, inside: Any) -> Any:
        async def run(request: Any) -> Response:
            value = await around(request, inside)
            if value is None:
                raise TypeError("owner returned None; return what call_next(request) gave")
            return convert(value)

        return layer((), (), run)

    chain = layer(hooks.before, hooks.after, layer((), (), call))
    for step in reversed(steps):
        if step.around is not None:
            chain = wrapped(step.around, chain)
        else:
            before = [(step.before, "")] if step.before is not None else []
            after = [(step.after, "")] if step.after is not None else []
            chain = layer(before, after, chain)
    response: Response = await chain(request)
    return response


def made_up(choose: random.Random, seen: list[str]) -> tuple[list[Step], Hooks, Any]:
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

    steps: list[Step] = []
    for _ in range(choose.randrange(6)):
        shape = choose.choice(["around", "before", "after", "both"])
        if shape == "around":
            steps.append(Step("owner", around=around()))
        else:
            before = function("before") if shape != "after" else None
            after = function("after") if shape != "before" else None
            steps.append(Step("owner", None, before, after))
    hooks = Hooks(
        tuple((function("before"), "hook") for _ in range(choose.randrange(3))),
        tuple((function("after"), "hook") for _ in range(choose.randrange(3))),
    )
    return steps, hooks, function("handler")


@pytest.mark.parametrize("seed", range(8))
def test_a_flat_chain_does_what_nested_functions_would(seed: int) -> None:
    choose = random.Random(seed)

    async def both() -> None:
        for _ in range(120):
            seen: list[str] = []
            steps, hooks, handler = made_up(choose, seen)
            expected = await nested(steps, hooks, handler, None)
            noted = seen.copy()
            seen.clear()
            chain = compose(steps, handler, "handler", answer, hooks)
            try:
                got = await settled(chain.enter(None, None))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001 - which the connection has answered
                try:
                    got = await settled(answer(None, error))
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


# -- ends from outside ------------------------------------------------------------------------


async def waits_around(request: Request, call_next: Next) -> Response:
    await asyncio.sleep(0)
    return await call_next(request)


async def fed(app: Ember, path: bytes = b"/", *, strict: bool = False) -> bytes:
    """What is answered to a request, once it is."""
    connection = MemoryConnection(app, strict_tasks=strict)
    connection.feed(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    sent = b""
    async with asyncio.timeout(20):
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
        async with asyncio.timeout(20):
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
        async with asyncio.timeout(20):
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
        return await asyncio.wait_for(call_next(request), 20)

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


# -- the awaitable itself ---------------------------------------------------------------------


class Steps(Plan):
    """Awaits each of some iterators, then ends with what the last gave."""

    def __init__(self, *inner: Any) -> None:
        self.left = list(inner)
        self.seen: list[Any] = []

    def advance(self, flow: Flow, value: Any, error: BaseException | None) -> bool:
        self.seen.append(value if error is None else error)
        if not self.left:
            flow.response = value
            return False
        flow.inner = self.left.pop(0)
        return True


def flow_of(*inner: Any) -> Flow:
    flow = Flow.__new__(Flow)
    flow.plan = Steps(*inner)
    return flow


async def one(value: Any, *yielded: Any) -> Any:
    """A coroutine that yields what it is told and notes what is sent."""

    class Yields:
        def __await__(self) -> Iterator[Any]:
            got = []
            for piece in yielded:
                got.append((yield piece))  # noqa: PERF401 - a comprehension cannot yield
            return got

    return value, await Yields()


def ended(flow: Flow, *sent: Any) -> tuple[list[Any], Any]:
    """What a flow yields, and its result."""
    pieces = []
    for value in (None, *sent):
        try:
            pieces.append(flow.send(value))
        except StopIteration as stop:
            return pieces, stop.value
    raise AssertionError(f"not over after {pieces}")


def test_a_flow_passes_on_what_is_yielded_and_sent() -> None:
    assert ended(flow_of()) == ([], None)
    assert ended(flow_of(one(1))) == ([], (1, []))
    flow = flow_of(one(1, "a", "b"), one(2), one(3, "c"))
    assert ended(flow, "A", "B", "C") == (["a", "b", "c"], (3, ["C"]))
    assert flow.plan.seen == [None, (1, ["A", "B"]), (2, []), (3, ["C"])]  # type: ignore[attr-defined]


def test_a_flow_is_awaited_with_any_result_by_tasks_and_coroutines() -> None:
    async def main() -> None:
        for result in ("text", ("a", "tuple"), ValueError("an exception"), None, StopIteration(1)):

            async def gives(result: Any = result) -> Any:
                await asyncio.sleep(0)
                return result

            assert await flow_of(gives()) is result
            assert await asyncio.create_task(flow_of(gives())) is result
            assert await asyncio.wait_for(flow_of(gives()), 20) is result

    asyncio.run(main())


def test_a_flow_awaits_futures_and_plain_iterators() -> None:
    class Plain:
        """An iterator, and nothing more."""

        def __init__(self) -> None:
            self.left = 1

        def __iter__(self) -> Plain:
            return self

        def __next__(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise StopIteration("done")

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "set")
        assert await flow_of(future.__await__()) == "set"
        assert await flow_of(Plain()) == "done"

    asyncio.run(main())
    flow = flow_of(Plain())
    flow.send(None)
    with pytest.raises(StopIteration):
        flow.throw(ValueError("thrown where nothing can take it"))
    assert str(flow.plan.seen[-1]).startswith("thrown")  # type: ignore[attr-defined]


def test_what_is_thrown_into_a_flow_reaches_what_it_awaits() -> None:
    async def catches() -> str:
        try:
            await one(0, "waiting")
        except ValueError as error:
            return f"caught {error}"
        raise AssertionError

    for arguments in (
        (ValueError("x"),),
        (ValueError, "x"),
        (ValueError, ValueError("x")),
        (ValueError, ValueError("x"), None),
    ):
        flow = flow_of(catches(), one("next", "more"))
        assert flow.send(None) == "waiting"
        assert flow.throw(*arguments) == "more"
        assert flow.plan.seen == [None, "caught x"]  # type: ignore[attr-defined]
        assert ended(flow) == ([], ("next", [None]))


def test_an_exception_that_leaves_what_is_awaited_is_the_plans_to_see() -> None:
    error = ValueError("x")
    flow = flow_of(one(0, "waiting"), one("next"))
    flow.send(None)
    with pytest.raises(StopIteration) as stopped:
        flow.throw(error)
    assert stopped.value.value == ("next", [])
    assert flow.plan.seen[1] is error  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_ends_a_flow_at_once(error: BaseException) -> None:
    flow = flow_of(one(0, "waiting"), one(1))
    flow.send(None)
    with pytest.raises(type(error)) as raised:
        flow.throw(error)
    assert raised.value is error
    assert len(flow.plan.seen) == 1  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="cannot reuse"):
        flow.send(None)
    flow.plan.left.pop().close()  # type: ignore[attr-defined]


def test_closing_a_flow_closes_what_it_awaits_and_runs_nothing_more() -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await one(0, "waiting")
        finally:
            seen.append("closed")

    flow = flow_of(inner())
    flow.send(None)
    flow.close()
    flow.close()
    assert seen == ["closed"]
    assert len(flow.plan.seen) == 1  # type: ignore[attr-defined]
    begun = flow_of()
    begun.close()
    assert begun.plan.seen == []  # type: ignore[attr-defined]
    for used in (flow, begun):
        with pytest.raises(RuntimeError, match="cannot reuse"):
            used.send(None)
        with pytest.raises(RuntimeError, match="cannot reuse"):
            used.throw(ValueError())


def test_a_flow_that_has_not_begun_ends_with_what_is_thrown() -> None:
    flow = flow_of()
    with pytest.raises(ValueError, match="x"):
        flow.throw(ValueError("x"))
    assert flow.plan.seen == []  # type: ignore[attr-defined]


def test_a_flow_cannot_be_driven_while_it_runs() -> None:
    flow = flow_of()

    async def drives_its_own() -> None:
        flow.send(None)

    flow.plan.left.append(drives_its_own())  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        flow.send(None)
    assert "is running" in str(flow.plan.seen[1])  # type: ignore[attr-defined]


def test_the_frame_of_what_is_awaited_can_be_seen_through_a_flow() -> None:
    coroutine = one(0, "waiting")
    flow = flow_of(coroutine)
    assert flow.cr_frame is None
    flow.send(None)
    assert flow.cr_await is coroutine
    assert flow.cr_frame is coroutine.cr_frame
    assert not flow.cr_running
    flow.close()
