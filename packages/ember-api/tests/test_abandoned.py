"""Requests that are given up while a thread works for them: what it uses stays open until it ends.

The client leaves, or the time limit comes; the answer does not wait, what follows it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from ember import (
    BackgroundTasks,
    Depends,
    Ember,
    Request,
    RouteLimits,
    StreamingResponse,
    UploadFile,
)
from ember.protocol import Server

from tests.support.server import DEADLINE, Client, Running, ServeFixture
from tests.support.waiting import eventually

#: Seconds: long enough to send a request, short enough to wait for.
LIMIT = 0.2
FORM = (
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    b"what the file has\r\n--X--\r\n"
)


class Work:
    """What a thread does that is held until the test lets it go; `log` is what happened."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def do(self, look: Callable[[], bool] = lambda: False) -> None:
        """In the thread. `look()`: whether what it uses is closed."""
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        self.log.append("used closed" if look() else "used open")


class Session:
    """What is opened for a request."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self.work.log.append("closed")


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.go_on.set()


def send(running: Running, path: str = "/", upload: bool = False) -> Client:
    client = running.connect()
    if upload:
        client.send(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=X\r\n"
            f"Content-Length: {len(FORM)}\r\n\r\n".encode()
            + FORM
        )
    else:
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


def leave(running: Running, client: Client) -> None:
    """The client leaves, and the server has seen it."""
    server: Server = running.server
    client.reset()
    eventually(lambda: server.connections == 0)


def time_out(running: Running, client: Client) -> None:
    """The time limit has come: the answer does not wait for the thread."""
    assert client.recv_response().status == 503


def give_up(how: str) -> Callable[[Running, Client], None]:
    return leave if how == "leave" else time_out


def limits(how: str) -> RouteLimits | None:
    return RouteLimits(timeout=LIMIT) if how == "time-out" else None


@pytest.fixture(params=["leave", "time-out"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def played(running: Running, work: Work, how: str, upload: bool = False) -> list[str]:
    """What happened when a request was given up in its thread."""
    client = send(running, upload=upload)
    assert work.begun.wait(DEADLINE)
    give_up(how)(running, client)
    assert work.log == []
    work.go_on.set()
    eventually(lambda: len(work.log) == 2)
    client.close()
    return work.log


@pytest.mark.parametrize("scope", ["request", "function"])
@pytest.mark.parametrize("kind", ["async generator", "generator"])
def test_a_dependency_is_left_after_the_thread_of_the_handler(
    scope: Any, kind: str, how: str, work: Work, serve: ServeFixture
) -> None:
    app = Ember()

    async def on_loop() -> AsyncIterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    def in_thread() -> Iterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    opened: Any = on_loop if kind == "async generator" else in_thread

    @app.get("/", limits=limits(how))
    def handler(session: Annotated[Session, Depends(opened, scope=scope)]) -> str:
        work.do(lambda: session.closed)
        return "done"

    assert played(serve(app), work, how) == ["used open", "closed"]


def test_a_dependency_hears_that_the_request_was_given_up(
    how: str, work: Work, serve: ServeFixture
) -> None:
    app = Ember()

    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            work.log.append(f"rolled back: {type(error).__name__}")
            raise
        work.log.append("committed")

    @app.get("/", limits=limits(how))
    def handler(_: Annotated[None, Depends(transaction)]) -> None:
        work.do()

    assert played(serve(app), work, how) == ["used open", "rolled back: CancelledError"]


def test_a_component_of_the_request_is_closed_after_the_thread(
    how: str, work: Work, serve: ServeFixture
) -> None:
    app = Ember()
    app.add_component(lambda: Session(work), Session, per_request=True)

    @app.get("/", limits=limits(how))
    def handler(session: Session) -> str:
        work.do(lambda: session.closed)
        return "done"

    assert played(serve(app), work, how) == ["used open", "closed"]


def test_an_upload_is_closed_after_the_thread(how: str, work: Work, serve: ServeFixture) -> None:
    app = Ember()
    files: list[UploadFile] = []

    @app.post("/", limits=limits(how))
    def handler(file: UploadFile) -> None:
        files.append(file)
        work.do(lambda: file.closed)
        work.log.append(file.file.read().decode())

    assert played(serve(app), work, how, upload=True) == ["used open", "what the file has"]
    eventually(lambda: files[0].closed)


def test_what_middleware_closes_after_the_answer_is_closed_after_the_thread(
    how: str, work: Work, serve: ServeFixture
) -> None:
    app = Ember()
    session = Session(work)

    async def close() -> None:
        session.close()

    async def open_session(request: Request) -> None:
        request.after_response(close)

    app.add_middleware(open_session)

    @app.get("/", limits=limits(how))
    def handler() -> None:
        work.do(lambda: session.closed)

    assert played(serve(app), work, how) == ["used open", "closed"]


def test_a_dependency_in_a_thread_holds_what_it_depends_on(
    how: str, work: Work, serve: ServeFixture
) -> None:
    app = Ember()

    async def session() -> AsyncIterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    def user(session: Annotated[Session, Depends(session)]) -> str:
        work.do(lambda: session.closed)
        return "user"

    @app.get("/", limits=limits(how))
    async def handler(user: Annotated[str, Depends(user)]) -> str:
        return user

    assert played(serve(app), work, how) == ["used open", "closed"]


def test_a_generator_that_is_given_up_while_it_is_entered_is_left(
    how: str, work: Work, serve: ServeFixture
) -> None:
    app = Ember()

    def session() -> Iterator[Session]:
        session = Session(work)
        work.do()
        try:
            yield session
        finally:
            session.close()

    @app.get("/", limits=limits(how))
    async def handler(session: Annotated[Session, Depends(session)]) -> str:
        return "never"

    assert played(serve(app), work, how) == ["used open", "closed"]


def test_what_fails_while_it_is_entered_is_not_left(work: Work, serve: ServeFixture) -> None:
    app = Ember()

    def fails() -> Iterator[None]:
        raise LookupError("not there")
        yield

    def ends() -> Iterator[None]:
        yield from ()

    @app.get("/fails")
    async def first(_: Annotated[None, Depends(fails)]) -> None: ...

    @app.get("/ends")
    async def second(_: Annotated[None, Depends(ends)]) -> None: ...

    running, seen = serve(app), []

    @app.handle(RuntimeError)
    @app.handle(LookupError)
    async def mistake(request: Request, error: Exception) -> str:
        seen.append(repr(error))
        return "mistake"

    assert running.get("/fails").body == running.get("/ends").body == b"mistake"
    assert seen[0] == "LookupError('not there')"
    assert "ended without a yield" in seen[1]


def test_a_call_that_has_not_begun_never_does_and_holds_nothing(
    work: Work, serve: ServeFixture
) -> None:
    app = Ember()
    app.thread_pool_workers = 1

    @app.get("/")
    def blocks() -> None:
        work.do()

    async def session() -> AsyncIterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    @app.get("/waits", limits=RouteLimits(timeout=LIMIT))
    def waits(session: Annotated[Session, Depends(session)]) -> None:
        work.log.append("never")

    running = serve(app)
    with send(running):
        assert work.begun.wait(DEADLINE)
        assert running.get("/waits").status == 503
        eventually(lambda: work.log == ["closed"])
        work.go_on.set()
        eventually(lambda: work.log == ["closed", "used open"])


def test_the_next_request_on_the_connection_is_answered_after_the_thread(
    work: Work, serve: ServeFixture
) -> None:
    app = Ember()

    @app.get("/", limits=RouteLimits(timeout=LIMIT))
    def blocks() -> None:
        work.do()

    @app.get("/next")
    async def following() -> str:
        return "next"

    running = serve(app)
    with send(running) as client:
        assert client.recv_response().status == 503
        client.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        work.go_on.set()
        assert client.recv_response().body == b"next"


def test_a_sync_stream_is_closed_after_its_thread(work: Work, serve: ServeFixture) -> None:
    app = Ember()

    async def session() -> AsyncIterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    @app.get("/")
    async def handler(session: Annotated[Session, Depends(session)]) -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"first"
            work.do(lambda: session.closed)
            yield b"second"

        return StreamingResponse(pieces())

    running = serve(app)
    client = send(running)
    client.recv_until(b"first")
    assert work.begun.wait(DEADLINE)
    leave(running, client)
    assert work.log == []
    work.go_on.set()
    eventually(lambda: work.log == ["used open", "closed"])


def test_a_background_task_in_a_thread_keeps_the_dependencies_when_it_is_cancelled(
    work: Work, serve: ServeFixture
) -> None:
    app = Ember()

    async def session() -> AsyncIterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    @app.get("/")
    async def handler(session: Annotated[Session, Depends(session)], tasks: BackgroundTasks) -> str:
        tasks.add_task(work.do, lambda: session.closed)
        return "sent"

    running = serve(app)
    with send(running) as client, contextlib.suppress(ConnectionError):
        assert client.recv_response().body == b"sent"
        assert work.begun.wait(DEADLINE)

        async def cancel() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        running.call(cancel())
        assert work.log == []
        work.go_on.set()
        eventually(lambda: work.log == ["used open", "closed"])


def test_the_end_of_the_server_does_not_wait_for_a_thread(work: Work, serve: ServeFixture) -> None:
    app = Ember()

    async def session() -> AsyncIterator[Session]:
        session = Session(work)
        try:
            yield session
        finally:
            session.close()

    @app.get("/", limits=RouteLimits(timeout=LIMIT))
    def handler(session: Annotated[Session, Depends(session)]) -> None:
        work.do()

    running = serve(app)

    async def tasks() -> set[Any]:
        return asyncio.all_tasks() - {asyncio.current_task()}

    others = running.call(tasks())
    client = send(running)
    assert client.recv_response().status == 503

    async def end() -> None:
        requests = await tasks() - others
        assert requests
        for task in requests:
            task.cancel()
        await asyncio.wait(requests)

    running.call(end())
    assert work.log == ["closed"]
