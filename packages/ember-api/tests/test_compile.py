"""Bound routes in an application: routing, threads, status codes, overrides; over sockets."""

from __future__ import annotations

import asyncio
import datetime
import enum
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
import pytest
from ember import (
    BackgroundTasks,
    Depends,
    Ember,
    Events,
    File,
    Form,
    Header,
    Path,
    Query,
    Request,
    RouteError,
    RouteLimits,
    ServerLimits,
    StreamingResponse,
    Unauthorized,
    UploadFile,
)
from ember.protocol import MemoryConnection

from tests.support.server import DEADLINE, Running
from tests.support.waiting import eventually

Serve = Callable[[object], Running]


class Task(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(min_length=1)]
    done: bool = False


class Color(enum.Enum):
    RED = "red"


def call(
    serve: Serve, app: Ember, line: str, body: bytes = b"", headers: str = "", close: bool = False
) -> tuple[int, Any]:
    """Status and body of one request over a socket, the body as JSON where it is."""
    with serve(app).connect() as client:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        client.send(f"{line} HTTP/1.1\r\nHost: x\r\n{length}{headers}\r\n".encode() + body)
        answer = client.recv_response()
    kind = answer.header("content-type") or ""
    return answer.status, json.loads(answer.body) if "json" in kind else answer.body


JSON = "Content-Type: application/json\r\n"


def test_every_source_over_a_socket(serve: Serve) -> None:
    app = Ember()

    async def user(authorization: Annotated[str, Header()]) -> str:
        return authorization

    @app.put("/lists/{name}/tasks/{id}")
    async def change(
        request: Request,
        id: Annotated[int, Path(ge=1)],
        name: str,
        task: Task,
        user: Annotated[str, Depends(user)],
        tag: list[str] = [],  # noqa: B006
        notify: bool = False,
    ) -> dict[str, Any]:
        return {
            "path": request.path_params,
            "id": id,
            "name": name,
            "task": task,
            "user": user,
            "tag": tag,
            "notify": notify,
        }

    line = "PUT /lists/home%20work/tasks/7?tag=a&tag=b&notify=yes"
    status, body = call(serve, app, line, b'{"title": "x"}', JSON + "Authorization: me\r\n")
    assert status == 200
    assert body == {
        "path": {"name": "home work", "id": 7},
        "id": 7,
        "name": "home work",
        "task": {"title": "x", "done": False},
        "user": "me",
        "tag": ["a", "b"],
        "notify": True,
    }
    line = "PUT /lists/home/tasks/0?notify=x"
    status, body = call(serve, app, line, b'{"title": "", "done": 1}', JSON)
    assert status == 422
    assert body["title"] == "Unprocessable Content"
    assert body["errors"] == [
        {"loc": ["header", "authorization"], "msg": "this value is required", "type": "missing"},
        {"loc": ["path", "id"], "msg": "expected at least 1", "type": "greater_than_equal"},
        {"loc": ["query", "notify"], "msg": "expected true or false", "type": "bool_parsing"},
        {
            "loc": ["body", "title"],
            "msg": "expected at least 1 character",
            "type": "string_too_short",
        },
        {
            "loc": ["body", "done"],
            "msg": "expected true or false, got a whole number",
            "type": "bool_type",
        },
    ]
    # A path that no converter takes is no route.
    assert call(serve, app, "PUT /lists/home/tasks/x")[0] == 404


def test_a_body_in_pieces(serve: Serve) -> None:
    app = Ember()

    @app.post("/")
    async def create(task: Task) -> Task:
        return task

    with serve(app).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        client.send(b"Transfer-Encoding: chunked\r\n\r\n9\r\n" + b'{"title":' + b"\r\n")
        client.send(b'4\r\n"x"}\r\n0\r\n\r\n')
        answer = client.recv_response()
    assert json.loads(answer.body) == {"title": "x", "done": False}


def test_an_upload_is_refused_before_its_body_is_read(serve: Serve) -> None:
    app = Ember()

    async def nobody() -> None:
        raise Unauthorized("who are you?")

    @app.post("/")
    async def create(task: Task, user: Annotated[None, Depends(nobody)]) -> None: ...

    with serve(app).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n")
        client.send(b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        assert client.recv_response().status == 401


def test_the_limits_of_a_bound_route_hold(serve: Serve) -> None:
    app = Ember()

    @app.post("/", limits=RouteLimits(14))
    async def create(task: Task) -> Task:
        return task

    assert call(serve, app, "POST /", b'{"title": "x"}', JSON)[0] == 200
    assert call(serve, app, "POST /", b'{"title": "xy"}', JSON)[0] == 413


def test_path_text_becomes_what_the_annotation_says(serve: Serve) -> None:
    app = Ember()

    @app.get("/{day}/{color}")
    async def show(day: datetime.date, color: Color) -> list[Any]:
        return [day.year, color.name]

    assert call(serve, app, "GET /2026-01-02/red") == (200, [2026, "RED"])
    status, body = call(serve, app, "GET /x/blue")
    assert status == 422
    assert [found["loc"] for found in body["errors"]] == [["path", "day"], ["path", "color"]]


def test_plain_functions_run_in_a_thread_and_coroutines_on_the_loop(serve: Serve) -> None:
    app = Ember()

    def dependency() -> str:
        return threading.current_thread().name

    @app.get("/def")
    def plain(d: Annotated[str, Depends(dependency)], n: int = 1) -> list[Any]:
        return [d[:12], threading.current_thread().name[:12], n]

    @app.get("/inline", inline=True)
    def inline(n: int = 1) -> bool:
        return threading.current_thread().name.startswith("ember-worker")

    @app.get("/sync", inline=True)
    async def coroutine(n: int = 1) -> bool:
        return threading.current_thread().name.startswith("ember-worker")

    assert call(serve, app, "GET /def") == (200, ["ember-worker", "ember-worker", 1])
    assert call(serve, app, "GET /inline") == (200, False)
    assert call(serve, app, "GET /sync") == (200, False)


def test_the_status_code_of_a_bound_route(serve: Serve) -> None:
    app = Ember()

    @app.post("/a", status_code=201)
    async def a(task: Task) -> Task:
        return task

    @app.get("/b", status_code=202)
    def b(n: int) -> int:
        return n

    assert call(serve, app, "POST /a", b'{"title": "x"}', JSON)[0] == 201
    assert call(serve, app, "GET /b?n=3") == (202, 3)
    assert call(serve, app, "GET /b?n=x")[0] == 422


def test_forms(serve: Serve) -> None:
    app = Ember()

    @app.post("/")
    async def login(user: Annotated[str, Form()], remember: Annotated[bool, Form()] = False) -> Any:
        return [user, remember]

    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    assert call(serve, app, "POST /", b"user=a+b&remember=on", kind) == (200, ["a b", True])


MULTIPART = "Content-Type: multipart/form-data; boundary=b\r\n"


def parts(*items: tuple[str, str | None, str]) -> bytes:
    """A multipart form of (name, filename or None, content)."""
    body = ""
    for name, filename, content in items:
        file = "" if filename is None else f'; filename="{filename}"'
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}\r\n'
    return (body + "--b--\r\n").encode()


def test_files_of_a_multipart_form(serve: Serve) -> None:
    app = Ember()

    @app.post("/")
    async def upload(
        cover: UploadFile,
        pages: list[UploadFile],
        title: Annotated[str, Form()],
        data: Annotated[bytes, File()] = b"none",
        extra: UploadFile | None = None,
    ) -> list[Any]:
        read = [await page.read() for page in pages]
        return [cover.filename, [r.decode() for r in read], title, data.decode(), extra is None]

    body = parts(
        ("title", None, "a book"),
        ("cover", "c.png", "x"),
        ("pages", "1", "one"),
        ("pages", "2", "two"),
    )
    assert call(serve, app, "POST /", body, MULTIPART) == (
        200,
        ["c.png", ["one", "two"], "a book", "none", True],
    )
    body = parts(("title", "t.txt", "a file"), ("cover", None, "text"), ("data", "d", "x"))
    status, answer = call(serve, app, "POST /", body, MULTIPART)
    assert status == 422
    assert {found["loc"][1]: found["type"] for found in answer["errors"]} == {
        "title": "string_type",
        "cover": "file_type",
        "pages": "missing",
    }


def test_a_data_class_from_a_multipart_form(serve: Serve) -> None:
    app = Ember()

    @app.post("/")
    async def create(task: Task) -> Task:
        return task

    body = parts(("title", None, "x"), ("done", None, "on"))
    answer = {"title": "x", "done": True}
    assert call(serve, app, "POST /", body, MULTIPART) == (200, answer)
    status, problem = call(serve, app, "POST /", parts(("title", "f", "x")), MULTIPART)
    assert status == 422
    assert problem["errors"][0]["loc"] == ["body", "title"]


def test_what_follows_the_answer_does_not_hold_it_up(serve: Serve) -> None:
    app = Ember()
    release = threading.Event()
    log: list[str] = []
    closed = threading.Event()

    async def connection() -> AsyncIterator[str]:
        yield "connection"
        log.append("closed")
        closed.set()

    @app.get("/")
    async def index(tasks: BackgroundTasks, c: Annotated[str, Depends(connection)]) -> str:
        def work() -> None:
            release.wait(DEADLINE)
            log.append("worked")

        tasks.add_task(work)
        return c

    with serve(app).connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv_response().body == b"connection"
        assert log == []
        release.set()
        assert closed.wait(DEADLINE)
    assert log == ["worked", "closed"]


def test_a_stop_waits_for_what_follows_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    async def main(seconds: float) -> None:
        app = Ember(server_limits=ServerLimits(shutdown_timeout=seconds))
        release = asyncio.Event()

        async def session() -> AsyncIterator[None]:
            yield
            log.append("session closed")

        @app.get("/")
        async def index(tasks: BackgroundTasks, s: Annotated[None, Depends(session)]) -> str:
            tasks.add_task(release.wait)
            return "hello"

        @app.hook(Events.BEFORE_SERVER_STOP)
        async def stop() -> None:
            log.append("database closed")

        await app.startup()
        connection = MemoryConnection(app)
        connection.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not (answer := connection.take()):
            await asyncio.sleep(0)
        assert answer.endswith(b"hello")
        if seconds > 1:
            asyncio.get_running_loop().call_soon(release.set)
        await app.shutdown()
        release.set()

    asyncio.run(main(DEADLINE))
    assert log == ["session closed", "database closed"]
    assert "not done" not in caplog.text
    log.clear()
    asyncio.run(main(0.01))
    assert log[0] == "database closed"
    assert "1 background tasks did not end within 0.01 s" in caplog.text


def test_a_stream_is_sent_while_its_dependencies_are_held(serve: Serve) -> None:
    app = Ember()
    log: list[str] = []

    async def connection() -> AsyncIterator[str]:
        yield "connection"
        log.append("closed")

    async def chunks() -> AsyncIterator[str]:
        log.append("streaming")
        yield "x"

    @app.get("/")
    async def index(c: Annotated[str, Depends(connection)]) -> StreamingResponse:
        return StreamingResponse(chunks())

    with serve(app).connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv_response().body == b"x"
    eventually(lambda: log == ["streaming", "closed"])


def test_when_the_client_leaves_the_dependencies_are_left(serve: Serve) -> None:
    app = Ember()
    entered, left = threading.Event(), threading.Event()

    async def connection() -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            left.set()
            raise

    @app.get("/")
    async def index(c: Annotated[None, Depends(connection)]) -> None:
        entered.set()
        await asyncio.sleep(3600)

    with serve(app).connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert entered.wait(DEADLINE)
    assert left.wait(DEADLINE)


def test_overrides_work_while_the_application_serves(serve: Serve) -> None:
    app = Ember()

    async def database() -> str:
        return "real"

    @app.get("/")
    async def index(db: Annotated[str, Depends(database)]) -> str:
        return db

    running = serve(app)

    def get() -> bytes:
        with running.connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv_response().body

    assert get() == b"real"
    app.dependency_overrides[database] = lambda: "fake"
    assert get() == b"fake"
    app.dependency_overrides.clear()
    assert get() == b"real"


def test_components_that_are_made_for_each_request(serve: Serve) -> None:
    app = Ember()
    made: list[Session] = []

    class Session:
        def __init__(self, limit: int = 3) -> None:
            self.limit = limit
            self.closed = threading.Event()
            made.append(self)

        async def aclose(self) -> None:
            self.closed.set()

    # Asked for before it is known what makes it: its class alone says nothing.
    @app.get("/")
    async def index(session: Session) -> int:
        return session.limit

    app.add_component(Session, per_request=True)
    assert call(serve, app, "GET /") == (200, 3)
    assert call(serve, app, "GET /?limit=5") == (200, 5)
    assert len(made) == 2
    assert all(session.closed.wait(DEADLINE) for session in made)


def test_what_makes_a_component_says_what_it_makes() -> None:
    app = Ember()

    class Session: ...

    async def make():  # type: ignore[no-untyped-def]
        ...

    async def sessions() -> AsyncIterator[Session]:
        yield Session()

    with pytest.raises(TypeError, match="annotate the result, or give provides="):
        app.add_component(make, per_request=True)
    with pytest.raises(TypeError, match="expected a class or function"):
        app.add_component(3, per_request=True)
    with pytest.raises(TypeError, match=r"add_component\(Session, per_request=True\)"):
        app.add_component(Session)
    with pytest.raises(TypeError, match="the type of the component is not known"):
        app.add_component(sessions, per_request=True)  # Session is a name of this function's
    sessions.__annotations__["return"] = AsyncIterator[Session]
    app.add_component(sessions, per_request=True)
    assert set(app.components.factories) == {Session}


def test_a_handler_for_422_sees_every_error(serve: Serve) -> None:
    app = Ember()

    @app.handle(422)
    async def invalid(request: Request, error: Any) -> Any:
        return [found["loc"][-1] for found in error.errors]

    @app.get("/")
    async def index(a: int, b: int) -> None: ...

    assert call(serve, app, "GET /") == (422, ["a", "b"])


def test_a_mistake_is_an_error_at_registration() -> None:
    app = Ember()

    with pytest.raises(
        RouteError, match=r'route "GET /" \(.*index\): parameter "q: str" cannot be'
    ):

        @app.get("/")
        async def index(q: Annotated[str, Query(ge=1)]) -> None: ...


def test_classes_defined_inside_an_application_factory(serve: Serve) -> None:
    def create() -> Ember:
        app = Ember()

        @app.post("/")
        async def show(note: Note) -> str:
            return note.text

        class Note(msgspec.Struct):
            text: str

        return app

    def create_in_order() -> Ember:
        app = Ember()

        class Note(msgspec.Struct):
            text: str

        @app.post("/")
        async def show(note: Note) -> str:
            return note.text

        return app

    assert call(serve, create_in_order(), "POST /", b'{"text": "x"}', JSON) == (200, b"x")
    with pytest.raises(RouteError, match='the name "Note" is not known'):
        create().freeze()
