"""Every way out of an exchange ends in an answer, or with the connection aborted and a line in the
log; whatever an application returns, sets or raises, and wherever it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from ember._build import PURE
from ember.limits import RouteLimits
from ember.protocol import MemoryConnection
from ember.protocol.telemetry.observer import Observer
from ember.request import Request
from ember.response import Response, StreamingResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.answers import Incomplete, read_answers
from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Stop(BaseException):
    """What no `except Exception` catches."""


class Mute(Exception):
    """What cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("has no words")

    __repr__ = __str__


ERRORS: list[Callable[[], BaseException]] = [
    ValueError,
    Stop,
    Mute,
    SystemExit,
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    lambda: StopAsyncIteration("over"),
    asyncio.CancelledError,
    lambda: BaseExceptionGroup("several", [Stop(), ValueError()]),
    lambda: BaseExceptionGroup("several", [SystemExit(), asyncio.CancelledError()]),
    MemoryError,
    RecursionError,
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    TimeoutError,
    ConnectionResetError,
]
#: Where the application is asked for something.
PLACES = [
    "dispatch",
    "handler",
    "after a wait",
    "in a dependency",
    "generator",
    "later in the generator",
    "end of the generator",
    "into_response",
    "on_error",
    "on_error, later",
    "after_response",
    "observer",
    "close of what is awaited",
    "__await__",
    "looking for __await__",
    "a strange future",
]


class Trouble(App, Observer):
    """An application that raises `error()` at `place`."""

    def __init__(self, place: str, error: Callable[[], BaseException], waits: int) -> None:
        super().__init__()
        self.place, self.error, self.waits = place, error, waits
        self.followed = False
        self.observer = self

    def at(self, place: str) -> None:
        if place == self.place:
            raise self.error()

    async def wait(self) -> None:
        for _ in range(self.waits):
            await asyncio.sleep(0)

    def dispatch(self, request: Request) -> object:
        self.at("dispatch")
        if self.place in ("close of what is awaited", "__await__", "looking for __await__"):
            return (Awaited if self.place != "looking for __await__" else Awaitable)(self)
        if self.place == "close of what is awaited":
            request.limits = RouteLimits(max_body_size=0)
        return self.handler(request)

    async def handler(self, request: Request) -> object:
        request.after_response(self.after)
        request.after_response(self.follows)
        self.at("handler")
        await self.wait()
        self.at("after a wait")
        try:
            await self.inner()
        finally:
            await self.wait()
        if "generator" in self.place:
            return StreamingResponse(self.pieces())
        if self.place == "a strange future":
            await cast(Any, Strange(self))
        if "on_error" in self.place:
            raise LookupError
        return {"some": "value"}

    async def inner(self) -> None:
        self.at("in a dependency")

    async def pieces(self) -> AsyncIterator[bytes]:
        self.at("generator")
        yield b"piece"
        await self.wait()
        self.at("later in the generator")
        yield b"piece"
        self.at("end of the generator")

    async def after(self) -> None:
        await self.wait()
        self.at("after_response")

    async def follows(self) -> None:
        self.followed = True

    def into_response(self, request: Request, value: object) -> Response:
        self.at("into_response")
        return super().into_response(request, value)

    def on_error(self, request: Request, error: BaseException) -> Response:
        self.at("on_error")
        if self.place == "on_error, later":
            return cast(Response, self.later())
        logging.getLogger("test.application").error("failed: %s", type(error).__name__)
        return Response("failed", 500)

    async def later(self) -> Response:
        await self.wait()
        raise self.error()

    def finished(self, *about: object) -> None:
        self.at("observer")


class Awaitable:
    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble

    def __getattr__(self, name: str) -> object:
        if name == "__await__":
            self.trouble.at("looking for __await__")
        raise AttributeError(name)

    def close(self) -> None:
        self.trouble.at("close of what is awaited")


class Awaited(Awaitable):
    def __await__(self) -> Iterator[object]:
        self.trouble.at("__await__")
        return iter(())


class Strange:
    """Looks like a future, and fails when it is asked for its loop."""

    _asyncio_future_blocking = True

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble

    def __await__(self) -> Iterator[object]:
        yield self

    def get_loop(self) -> object:
        raise self.trouble.error()


class Outcome:
    """What came of one request: the answers, or that the connection was aborted."""

    def __init__(self, data: bytes, closed: bool, lines: list[logging.LogRecord]) -> None:
        self.closed = closed
        self.lines = lines
        self.whole = True
        self.answers = []
        try:
            self.answers = read_answers(data)
        except Incomplete:
            self.whole = False


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def outcome(app: App, data: bytes = GET, *, strict: bool = False, turns: int = 30) -> Outcome:
    """Send `data`, and leave the connection some turns."""
    lines = Lines()

    async def main() -> tuple[bytes, bool]:
        failures: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: failures.append(context))
        connection = MemoryConnection(app, strict_tasks=strict)
        connection.feed(data)
        for _ in range(turns):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is left"
        assert not failures
        return connection.take(), connection.closed

    root = logging.getLogger()
    root.addHandler(lines)
    try:
        got, closed = asyncio.run(main())
    finally:
        root.removeHandler(lines)
    return Outcome(got, closed, lines.records)


def check(result: Outcome) -> None:
    """That the client got whole answers, or an end and the operator a line about it."""
    if result.whole and result.answers:
        return
    assert result.closed, "neither an answer nor an end"
    assert result.lines, "no answer, and nothing in the log"


@pytest.mark.once_per_build
@pytest.mark.parametrize("strict", [False, True], ids=["light", "genuine"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_whatever_is_raised_anywhere_ends_in_an_answer_or_an_abort_with_a_line(
    place: str, strict: bool
) -> None:
    if place == "a strange future" and (strict or PURE):
        pytest.skip("asyncio's own tasks end without a word when get_loop() fails")
    for error in ERRORS:
        for waits in (0, 2):
            app = Trouble(place, error, waits)
            result = outcome(app, strict=strict)
            check(result)
            if "generator" not in place:
                assert [a.status for a in result.answers][:1] in ([200], [204], [500]), (
                    place,
                    error(),
                )
            if place in ("handler", "after a wait", "in a dependency", "dispatch"):
                assert result.answers[0].status == 500
                assert result.lines
            if "generator" in place:
                assert app.followed
            if place in ("after_response", "observer"):
                assert result.answers[0].status == 200
                assert app.followed
                assert result.lines


@pytest.mark.once_per_build
def test_what_an_inner_task_raised_is_the_requests_error() -> None:
    async def handler(request: Request) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
        return "never"

    async def fails() -> None:
        raise Stop

    result = outcome(App({"/": handler}))
    assert [a.status for a in result.answers] == [500]


VALUES = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Ll"])),
    st.binary(),
    st.none(),
    st.integers(),
    st.floats(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.text(alphabet=st.characters(categories=["Cs", "Lu"]))),
    st.just(object()),
    st.just(Response),
    st.builds(lambda: iter(())),
)


@pytest.mark.once_per_build
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(VALUES, st.booleans(), st.booleans())
def test_whatever_a_handler_returns_ends_in_an_answer(
    value: object, waits: bool, inline: bool
) -> None:
    async def later(request: Request) -> object:
        if waits:
            await asyncio.sleep(0)
        return value

    result = outcome(App({"/": (lambda request: value) if inline else later}), GET + GET)
    assert result.whole
    assert len(result.answers) == 2


def make_response(
    status: object, content_type: object, name: object, field: object, cookie: object, body: object
) -> Response:
    response = Response(b"body")
    response.headers[cast(str, name)] = cast(str, field)
    response.set_cookie("name", cast(str, cookie))
    response.status_code = cast(int, status)
    response.content_type = cast(str, content_type)
    response.body = cast(bytes, body)
    return response


ANYTHING = st.one_of(
    st.text(), st.text(st.characters(categories=["Cs", "Cc"])), st.binary(), st.none()
)


@pytest.mark.once_per_build
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.integers(-1, 1100), st.sampled_from([200, 204, 205, 304, 101, 1 << 40, "200"])),
    ANYTHING,
    st.one_of(st.just("X-Field"), ANYTHING),
    ANYTHING,
    ANYTHING,
    st.one_of(st.binary(), st.text()),
)
def test_whatever_is_set_in_a_response_ends_in_an_answer(
    status: Any, content_type: Any, name: Any, field: Any, cookie: Any, body: Any
) -> None:
    parts = (status, content_type, name, field, cookie, body)

    def handler(request: Request) -> Response:
        return make_response(*parts)

    async def later(request: Request) -> Response:
        await asyncio.sleep(0)
        return make_response(*parts)

    for choice in (handler, later):
        result = outcome(App({"/": choice}), GET + GET)
        assert result.whole
        assert len(result.answers) == 2
        assert all(200 <= answer.status <= 599 for answer in result.answers)


@pytest.mark.once_per_build
@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 150, 199, 600, 1000])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_status_that_no_final_response_has_is_an_error(status: int, streamed: bool) -> None:
    def handler(request: Request) -> Response:
        response = StreamingResponse([b"x"]) if streamed else Response("x")
        response.status_code = status
        return response

    app = App({"/": handler})
    result = outcome(app)
    assert [a.status for a in result.answers] == [500]
    assert "expected a number from 200 to 599" in str(app.errors[0])


@pytest.mark.once_per_build
def test_an_error_response_without_bytes_becomes_a_bare_500() -> None:
    class Worse(App):
        def on_error(self, request: Request, error: BaseException) -> Response:
            response = Response("text")
            response.status_code = 1000
            return response

    async def later(request: Request) -> str:
        await asyncio.sleep(0)
        raise ValueError

    def streamed(request: Request) -> Response:
        response = StreamingResponse([b"x"])
        response.status_code = 1000
        return response

    for handler in (lambda request: "\ud800", later, streamed):
        result = outcome(Worse({"/": handler}), GET + GET)
        assert [a.status for a in result.answers] == [500, 500]
        assert result.answers[0].body == b"Internal Server Error"
        assert any("error handler failed" in line.getMessage() for line in result.lines)


def test_text_that_utf_8_cannot_carry_leaves_nothing_behind(serve: ServeFixture) -> None:
    async def later(request: Request) -> str:
        await request.body()
        return "\ud800"

    app = App({"/": lambda request: "\ud800", "/later": later})
    running = serve(app)
    assert running.exchange(GET).status == 500
    with running.connect() as client:
        client.send(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
        client.send(b"body")
        assert client.recv_response().status == 500
        client.send(GET)
        assert client.recv_response().status == 500
    assert [type(error) for error in app.errors] == [UnicodeEncodeError] * 3
    eventually(lambda: running.server.connections == 0)


@pytest.mark.parametrize("error", [Stop, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_ends_its_own_request_only(
    serve: ServeFixture, error: type[BaseException]
) -> None:
    async def fails(request: Request) -> str:
        raise error

    async def fails_later(request: Request) -> str:
        await asyncio.sleep(0)
        raise error

    def fails_in_dispatch(request: Request) -> str:
        raise error

    async def after(request: Request) -> str:
        async def end() -> None:
            raise error

        request.after_response(end)
        return "answered"

    app = App(
        {
            "/": lambda request: "fine",
            "/now": fails,
            "/later": fails_later,
            "/at-once": fails_in_dispatch,
            "/after": after,
        }
    )
    running = serve(app)
    with running.connect() as client:
        for path in ("/now", "/later", "/at-once"):
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv_response().status == 500
        client.send("GET /after HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv_response().body == b"answered"
        client.send(GET)
        assert client.recv_response().body == b"fine"
    assert [type(e) for e in app.errors] == [error] * 3
    assert running.exchange(GET).body == b"fine"
