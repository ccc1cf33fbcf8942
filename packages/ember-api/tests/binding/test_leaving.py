"""What a dependency, a per-request component or a background task does after the answer."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import msgspec
import pytest
from ember.binding import compile_binding
from ember.binding.markers import Depends
from ember.concurrency.background import BackgroundTasks
from ember.concurrency.threads import ThreadPool
from ember.exceptions import Conflict, Unauthorized
from ember.request import Request
from ember.response import StreamingResponse
from ember.responses.conversion import convert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]


class Item(msgspec.Struct):
    name: str


# -- generators ------------------------------------------------------------------------------


class Log(list[str]):
    """What happened, in order."""


def test_what_follows_the_yield_runs_after_the_answer_in_reverse(ask: Ask) -> None:
    log = Log()

    async def connection(request: Request) -> AsyncIterator[str]:
        log.append("open")
        yield "connection"
        log.append("close")

    def session(c: Annotated[str, Depends(connection)]) -> Iterator[str]:
        log.append("begin")
        yield f"session on {c}"
        log.append("end")

    async def handler(s: Annotated[str, Depends(session)]) -> str:
        log.append("handler")
        return s

    assert ask(handler).body == b"session on connection"
    assert log == ["open", "begin", "handler", "end", "close"]


def test_the_answer_is_out_before_the_clean_up_begins() -> None:
    from ember.protocol import MemoryConnection

    from .conftest import BoundApp  # type: ignore[import-not-found,unused-ignore]

    async def resource() -> AsyncIterator[None]:
        yield
        seen.append(connection.take())

    async def handler(r: Annotated[None, Depends(resource)]) -> str:
        return "hello"

    seen: list[bytes] = []
    connection = MemoryConnection(BoundApp(compile_binding(handler), []))
    connection.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert seen[0].endswith(b"hello")


def test_an_error_of_the_handler_is_raised_at_the_yield(ask: Ask) -> None:
    log = Log()

    async def outer() -> AsyncIterator[None]:
        try:
            yield
        except Conflict:
            log.append("outer")
            raise

    def inner(o: Annotated[None, Depends(outer)]) -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            log.append("inner")
            raise Conflict("taken") from error
        finally:
            log.append("finally")

    async def handler(i: Annotated[None, Depends(inner)]) -> None:
        raise KeyError("x")

    assert ask(handler).status == 409
    assert log == ["inner", "finally", "outer"]


def test_an_error_that_a_dependency_keeps_to_itself_is_still_the_answer(ask: Ask) -> None:
    async def swallows() -> AsyncIterator[None]:
        try:  # noqa: SIM105
            yield
        except Conflict:
            pass

    async def handler(s: Annotated[None, Depends(swallows)]) -> None:
        raise Conflict("taken")

    assert ask(handler).status == 409


def test_a_dependency_that_fails_leaves_those_before_it(ask: Ask) -> None:
    log = Log()

    async def first() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("left")

    async def second(f: Annotated[None, Depends(first)]) -> None:
        raise Unauthorized("no")

    async def handler(s: Annotated[None, Depends(second)]) -> None: ...

    assert ask(handler).status == 401
    assert log == ["left"]


def test_an_error_of_the_request_leaves_what_was_entered(ask: Ask) -> None:
    log = Log()

    async def first() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("left")

    async def handler(f: Annotated[None, Depends(first)], n: int) -> None: ...

    assert ask(handler).errors == {"query.n": "missing"}
    assert log == ["left"]


def test_a_clean_up_that_fails_is_logged_and_the_others_still_run(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    async def first() -> AsyncIterator[None]:
        yield
        log.append("first")

    async def second(f: Annotated[None, Depends(first)]) -> AsyncIterator[None]:
        yield
        raise RuntimeError("the disk is full")

    async def handler(s: Annotated[None, Depends(second)]) -> str:
        return "fine"

    assert ask(handler).body == b"fine"
    assert log == ["first"]
    assert "second" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_generator_that_yields_never_or_twice_is_named(
    kind: str, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    async def never_async() -> AsyncIterator[None]:
        if kind == "":
            yield

    def never_sync() -> Iterator[None]:
        if kind == "":
            yield

    async def twice_async() -> AsyncIterator[None]:
        yield
        yield

    def twice_sync() -> Iterator[None]:
        yield
        yield

    never: Any = never_async if kind == "async" else never_sync
    twice: Any = twice_async if kind == "async" else twice_sync

    async def handler_never(n: Any = Depends(never)) -> None: ...
    async def handler_twice(n: Any = Depends(twice)) -> None: ...

    with pytest.raises(RuntimeError, match=f'never_{kind}" ended without a yield'):
        ask(handler_never)
    assert ask(handler_twice).status == 204
    assert f"twice_{kind}" in caplog.text
    assert "yields more than once" in caplog.text


def test_generators_in_the_thread_pool(ask: Ask) -> None:
    log = Log()

    def session() -> Iterator[str]:
        name = threading.current_thread().name
        try:
            yield name
        except Conflict:
            log.append("rolled back")
            raise
        log.append(threading.current_thread().name)

    async def handler(s: Annotated[str, Depends(session)], fail: bool = False) -> str:
        if fail:
            raise Conflict("no")
        return s

    pool = ThreadPool(1)
    try:
        assert ask(handler, run_in_thread=pool.run).body == b"ember-worker-1"
        assert ask(handler, "/?fail=1", run_in_thread=pool.run).status == 409
    finally:
        pool.close()
    assert log == ["ember-worker-1", "rolled back"]


def test_task_groups_and_context_variables_can_be_left_where_they_were_entered(ask: Ask) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    values: list[str] = []

    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        token = variable.set("inside")
        async with asyncio.TaskGroup() as tasks:
            yield tasks
        variable.reset(token)
        values.append(variable.get())

    async def handler(tasks: Annotated[asyncio.TaskGroup, Depends(group)]) -> str:
        async def later() -> None:
            await asyncio.sleep(0)
            values.append("task")

        tasks.create_task(later())
        return variable.get()

    assert ask(handler).body == b"inside"
    assert values == ["task", "outside"]


# -- streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["response", "generator", "tuple"])
def test_what_a_stream_may_use_is_left_after_it_and_the_rest_before(kind: str, ask: Ask) -> None:
    log = Log()

    async def long() -> AsyncIterator[None]:
        yield
        log.append("long left")

    async def short(long: Annotated[None, Depends(long)]) -> AsyncIterator[None]:
        yield
        log.append("short left")

    async def chunks() -> AsyncIterator[bytes]:
        log.append("first byte")
        yield b"a"
        await asyncio.sleep(0)
        log.append("last byte")
        yield b"b"

    async def handler(
        s: Annotated[None, Depends(short, scope="function")],
        l: Annotated[None, Depends(long)],  # noqa: E741
    ) -> Any:
        if kind == "generator":
            return chunks()
        response = StreamingResponse(chunks())
        return response if kind == "response" else (response, 201)

    assert b"1\r\na\r\n1\r\nb\r\n" in ask(handler, respond=convert).body
    assert log == ["short left", "first byte", "last byte", "long left"]


def test_an_async_generator_as_handler(ask: Ask) -> None:
    async def handler(item: Item) -> AsyncIterator[bytes]:
        yield item.name.encode()

    assert b"3\r\npen\r\n" in ask(handler, method="POST", body={"name": "pen"}).body


# -- per-request components -------------------------------------------------------------------


class Session:
    made: list[Session] = []

    def __init__(self) -> None:
        self.closed = False
        Session.made.append(self)

    async def aclose(self) -> None:
        self.closed = True


class Plain(Session):
    def close(self) -> None:
        self.closed = True

    aclose = None  # type: ignore[assignment]


class Managed(Session):
    async def __aenter__(self) -> Managed:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.closed = True


class SyncManaged(Session):
    def __enter__(self) -> SyncManaged:
        return self

    def __exit__(self, *exc: object) -> None:
        self.closed = True


async def make_session() -> Session:
    return Session()


async def yield_session() -> AsyncIterator[Session]:
    session = Session()
    yield session
    session.closed = True


@pytest.mark.parametrize(
    "factory", [Session, Plain, Managed, SyncManaged, make_session, yield_session]
)
def test_two_requests_get_two_instances_and_both_are_closed(factory: Any, ask: Ask) -> None:
    Session.made.clear()

    async def other(session: Session) -> Session:
        return session

    async def handler(session: Session, same: Annotated[Session, Depends(other)]) -> bool:
        return session is same and not session.closed

    for _ in range(2):
        assert ask(handler, factories={Session: factory}).json is True
    assert len(Session.made) == 2
    assert all(session.closed for session in Session.made)


def test_a_per_request_component_is_closed_when_the_handler_fails(ask: Ask) -> None:
    Session.made.clear()

    async def handler(session: Session) -> None:
        raise Conflict("no")

    assert ask(handler, factories={Session: Session}).status == 409
    assert Session.made[0].closed


# -- background tasks -------------------------------------------------------------------------


def test_background_tasks_run_after_the_answer_and_before_the_clean_up(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    async def session() -> AsyncIterator[None]:
        yield
        log.append("closed")

    async def note(text: str, *, loud: bool) -> None:
        log.append(text.upper() if loud else text)

    def plain(text: str) -> None:
        log.append(text)

    def fails() -> None:
        raise RuntimeError("no mail server")

    async def dependency(tasks: BackgroundTasks) -> None:
        tasks.add_task(plain, "from the dependency")

    async def handler(
        tasks: BackgroundTasks,
        d: Annotated[None, Depends(dependency)],
        s: Annotated[None, Depends(session)],
    ) -> str:
        tasks.add_task(note, "one", loud=True)
        tasks.add_task(fails)
        tasks.add_task(plain, "two")
        log.append("handler")
        return "done"

    assert ask(handler).body == b"done"
    assert log == ["handler", "from the dependency", "ONE", "two", "closed"]
    assert "background task" in caplog.text
    assert "no mail server" in caplog.text


def test_plain_background_functions_run_in_the_thread_pool(ask: Ask) -> None:
    log = Log()

    async def handler(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: log.append(threading.current_thread().name))

    pool = ThreadPool(1)
    try:
        assert ask(handler, run_in_thread=pool.run).status == 204
    finally:
        pool.close()
    assert log == ["ember-worker-1"]


def test_background_tasks_of_a_handler_that_fails_do_not_run(ask: Ask) -> None:
    log = Log()

    async def handler(tasks: BackgroundTasks) -> None:
        tasks.add_task(log.append, "never")
        raise Conflict("no")

    assert ask(handler).status == 409
    assert log == []


def test_only_functions_can_be_background_tasks() -> None:
    with pytest.raises(TypeError, match="expected a function"):
        BackgroundTasks().add_task("x")  # type: ignore[arg-type]
