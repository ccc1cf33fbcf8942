"""When dependencies are left: before the answer or after it, and what they hear of its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from ember import Conflict, Depends, Ember, RouteError, StreamingResponse
from ember.exceptions import ClientDisconnected

from tests.support.server import ServeFixture
from tests.support.waiting import eventually

Log = list[str]


class Session:
    """What a database gives: committed when its dependency is left well."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.open = True


def app_with(scope: Any, log: Log, fails: bool = False) -> tuple[Ember, Any]:
    app = Ember()

    async def session() -> AsyncIterator[Session]:
        session = Session(log)
        try:
            yield session
            if fails:
                raise Conflict("unique violation")
            log.append("commit")
        except Conflict:
            raise
        except BaseException as error:
            log.append(f"rollback {type(error).__name__}")
            raise
        finally:
            session.open = False

    return app, Annotated[Session, Depends(session, scope=scope)]


# -- handlers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_a_commit_of_scope_function_that_fails_fails_the_request(
    plain: bool, serve: ServeFixture
) -> None:
    log: Log = []
    app, dependency = app_with("function", log, fails=True)

    async def add(session: dependency) -> dict[str, int]:
        return {"id": 1}

    def add_plain(session: dependency) -> dict[str, int]:
        return {"id": 1}

    app.post("/", status_code=201)(add_plain if plain else add)
    answer = serve(app).request("POST", "/")
    assert answer.status == 409
    assert b"unique violation" in answer.body


def test_a_commit_of_scope_function_comes_before_the_answer(serve: ServeFixture) -> None:
    log: Log = []
    app, dependency = app_with("function", log)

    @app.get("/")
    async def handler(session: dependency) -> Any:
        assert session.open
        return {"committed": "commit" in log}

    @app.add_middleware
    async def look(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["X-Committed"] = str("commit" in log)
        return response

    answer = serve(app).get("/")
    assert answer.header("x-committed") == "True"
    assert answer.body == b'{"committed":false}'


def test_the_answer_is_made_while_everything_is_open(serve: ServeFixture) -> None:
    """An object may still load what it consists of when it is written."""
    log: Log = []
    app, dependency = app_with("function", log)
    import pydantic

    class Row(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        session: Session = pydantic.Field(exclude=True)

        @pydantic.computed_field
        def open(self) -> bool:
            return self.session.open

    @app.get("/")
    async def handler(session: dependency) -> Row:
        return Row(session=session)

    assert serve(app).get("/").body == b'{"open":true}'


@pytest.mark.parametrize("scope", [None, "function"])
def test_a_result_without_a_response_is_a_failure_to_the_dependencies(
    scope: Any, serve: ServeFixture
) -> None:
    log: Log = []
    app, dependency = app_with(scope, log)

    @app.get("/")
    async def handler(session: dependency) -> Any:
        return object()

    assert serve(app).get("/").status == 500
    assert log == ["rollback UnsupportedReturn"]


def test_a_failed_commit_leaves_the_others_with_its_error(serve: ServeFixture) -> None:
    log: Log = []
    app, dependency = app_with("function", log, fails=True)

    async def outer() -> AsyncIterator[None]:
        try:
            yield
        except Conflict:
            log.append("heard")
            raise

    @app.get("/")
    async def handler(o: Annotated[None, Depends(outer)], session: dependency) -> str:
        return "never"

    assert serve(app).get("/").status == 409
    assert log == ["heard"]


# -- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [None, "request", "function"])
def test_an_async_generator_handler_runs_with_its_dependency_open(
    scope: Any, serve: ServeFixture
) -> None:
    log: Log = []
    app, dependency = app_with(scope, log)

    @app.get("/")
    async def handler(session: dependency) -> AsyncIterator[str]:
        yield f"{session.open} "
        await asyncio.sleep(0)
        yield f"{session.open}"

    assert serve(app).get("/").body == b"True True"
    eventually(lambda: log == ["commit"])


def test_a_commit_at_the_end_of_a_generator_breaks_its_message(serve: ServeFixture) -> None:
    log: Log = []
    app, dependency = app_with("function", log, fails=True)

    @app.get("/")
    async def handler(session: dependency) -> AsyncIterator[str]:
        yield "piece"

    with serve(app).connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not client.recv_until_close().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_stream_that_breaks_is_an_error_to_the_dependencies(
    kind: str, serve: ServeFixture
) -> None:
    log: Log = []
    app, dependency = app_with(None, log)

    async def pieces() -> AsyncIterator[str]:
        yield "one"
        raise KeyError("lost")

    def sync_pieces() -> Iterator[str]:
        yield "one"
        raise KeyError("lost")

    @app.get("/")
    async def handler(session: dependency) -> StreamingResponse:
        return StreamingResponse(pieces() if kind == "async" else sync_pieces())

    with serve(app).connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv_until_close()
    eventually(lambda: log == ["rollback KeyError"])


def test_a_client_that_leaves_a_stream_is_an_error_to_the_dependencies(
    serve: ServeFixture,
) -> None:
    log: Log = []
    app, dependency = app_with(None, log)

    @app.get("/")
    async def handler(session: dependency) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    with serve(app).connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv_until(b"xxx")
    eventually(lambda: log)
    assert log in (["rollback ClientDisconnected"], ["rollback CancelledError"])
    assert issubclass(ClientDisconnected, Exception)


def test_a_head_request_to_a_stream_is_no_error(serve: ServeFixture) -> None:
    log: Log = []
    app, dependency = app_with(None, log)

    @app.route("/", methods=["HEAD"])
    async def handler(session: dependency) -> StreamingResponse:
        return StreamingResponse(pieces())

    async def pieces() -> AsyncIterator[str]:
        yield "never"

    assert serve(app).request("HEAD", "/").status == 200
    eventually(lambda: log == ["commit"])


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.once
def test_hold_names_what_to_write_now() -> None:
    with pytest.raises(TypeError, match=r'Depends\(hold=\.\.\.\).*scope="function"'):
        Depends(lambda: None, hold=True)
    with pytest.raises(TypeError, match=r"scope='app'"):
        Depends(lambda: None, scope="app")  # type: ignore[arg-type]


@pytest.mark.once
def test_a_dependency_of_scope_request_cannot_need_one_of_scope_function() -> None:
    async def short() -> AsyncIterator[int]:
        yield 1

    async def between(s: Annotated[int, Depends(short, scope="function")]) -> int:
        return s

    async def long(b: Annotated[int, Depends(between)]) -> AsyncIterator[int]:
        yield b

    app = Ember()
    with pytest.raises(RouteError, match=r'long" has scope="request" and needs .*short".*scope='):

        @app.get("/")
        async def handler(value: Annotated[int, Depends(long)]) -> int:
            return value


def test_one_function_in_two_scopes_is_called_for_each(serve: ServeFixture) -> None:
    log: Log = []

    async def dependency() -> AsyncIterator[object]:
        yield object()
        log.append("left")

    app = Ember()

    @app.get("/")
    async def handler(
        a: Annotated[object, Depends(dependency)],
        b: Annotated[object, Depends(dependency, scope="function")],
        c: Annotated[object, Depends(dependency, scope="request")],
    ) -> list[bool]:
        return [a is b, a is c]

    assert serve(app).get("/").body == b"[false,true]"
    eventually(lambda: log == ["left", "left"])


# -- context variables ------------------------------------------------------------------------

variable: ContextVar[str] = ContextVar("variable", default="unset")


def test_the_handler_sees_what_plain_dependencies_set(serve: ServeFixture) -> None:
    app = Ember()
    threads = []

    def plain() -> None:
        threads.append(threading.current_thread().name)
        variable.set("plain")

    @app.get("/async")
    async def handler(p: Annotated[None, Depends(plain)]) -> str:
        return variable.get()

    @app.get("/def")
    def threaded(p: Annotated[None, Depends(plain)]) -> str:
        return variable.get()

    @app.get("/none")
    async def none() -> str:
        return variable.get()

    running = serve(app)
    assert running.get("/async").body == running.get("/def").body == b"plain"
    assert running.get("/none").body == b"unset"
    assert all(name.startswith("ember-worker") for name in threads)


@pytest.mark.parametrize("scope", ["request", "function"])
def test_a_plain_generator_can_reset_what_it_set(scope: Any, serve: ServeFixture) -> None:
    app = Ember()
    log: Log = []

    def outer() -> Iterator[None]:
        token = variable.set("outer")
        yield
        log.append(f"sees {variable.get()}")
        variable.reset(token)
        log.append(variable.get())

    async def inner(o: Annotated[None, Depends(outer, scope=scope)]) -> None:
        variable.set("inner")

    @app.get("/")
    async def handler(i: Annotated[None, Depends(inner)]) -> str:
        return variable.get()

    assert serve(app).get("/").body == b"inner"
    eventually(lambda: len(log) == 2)
    assert log == ["sees inner", "unset"]
