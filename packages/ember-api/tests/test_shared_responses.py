"""A response that the application keeps and returns again: nobody's answer reaches the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ember import Ember, HTTPError, JSONResponse, Request, Response
from ember.middleware.request_ids import RequestIDMiddleware

from tests.support.server import Answer, ServeFixture

Next = Callable[[Request], Awaitable[Response]]
KEPT: list[Response] = []
TEXT = "x" * 2000
GZIP = {"Accept-Encoding": "gzip"}


class Custom(Response):
    """A class of the application's, with slots and a dict."""

    __slots__ = ("__hidden", "shown")

    def __init__(self) -> None:
        super().__init__(TEXT)
        self.shown, self.__hidden, self.loose = 1, 2, 3

    def parts(self) -> tuple[int, int, int]:
        return self.shown, self.__hidden, self.loose


async def wrapper(request: Request, call_next: Next) -> Response:
    response = await call_next(request)
    response.headers.add("X-User", request.args.get("user", "nobody"))
    response.set_cookie("session", request.args.get("user", "nobody"))
    return response


class After:
    def after(self, request: Request, response: Response) -> None:
        response.headers.add("X-User", request.args.get("user", "nobody"))
        response.set_cookie("session", request.args.get("user", "nobody"))


async def remembering(request: Request, call_next: Next) -> Response:
    """A cache of the application's own, inside of what adds fields."""
    if not KEPT:
        KEPT.append(await call_next(request))
    return KEPT[0]


def users(answer: Answer) -> list[str]:
    return answer.headers.get("x-user", [])


@pytest.mark.parametrize("middleware", [wrapper, After()])
@pytest.mark.parametrize("source", ["handler", "before", "error", "after"])
def test_what_a_middleware_adds_is_on_one_answer_only(
    middleware: Any, source: str, serve: ServeFixture
) -> None:
    constant = Response(TEXT, 200, {"X-Own": "1"})
    app = Ember()
    app.add_middleware(middleware)

    class Inner:
        def before(self, request: Request) -> Response | None:
            return constant if source == "before" else None

        def after(self, request: Request, response: Response) -> Response | None:
            return constant if source == "after" else None

    app.add_middleware(Inner())

    @app.handle(KeyError)
    async def failed(request: Request) -> Response:
        return constant

    @app.get("/")
    async def handler() -> Response:
        if source == "error":
            raise KeyError
        return constant

    running = serve(app)
    assert users(running.get("/?user=alice")) == ["alice"]
    second = running.get("/?user=bob")
    assert users(second) == ["bob"]
    assert str(second.header("set-cookie")).startswith("session=bob")
    assert [*constant.headers.items()] == [("X-Own", "1")]


def test_a_middleware_that_keeps_a_response_gives_copies_out(serve: ServeFixture) -> None:
    app = Ember()
    KEPT.clear()
    app.add_middleware(wrapper)
    app.add_middleware(remembering)

    @app.get("/")
    async def handler() -> str:
        return "once"

    running = serve(app)
    assert users(running.get("/?user=alice")) == ["alice"]
    assert users(running.get("/?user=bob")) == ["bob"]


@pytest.mark.parametrize("around", [False, True])
def test_a_kept_response_is_compressed_for_those_who_ask_for_it(
    around: bool, serve: ServeFixture
) -> None:
    app = Ember(compression=True)
    if around:
        app.add_middleware(wrapper)
    constant = Response(TEXT, content_type="text/plain")

    @app.get("/")
    async def handler() -> Response:
        return constant

    running = serve(app)
    for _ in range(2):
        assert running.get("/", GZIP).header("content-encoding") == "gzip"
        plain = running.get("/")
        assert plain.header("content-encoding") is None
        assert plain.body == TEXT.encode()
    assert constant.headers.get("vary") is None


def test_a_tuple_with_a_kept_response_leaves_it_as_it_is(serve: ServeFixture) -> None:
    app = Ember()
    constant = JSONResponse({})

    @app.get("/created")
    async def created() -> Any:
        return constant, 201, {"X-Once": "1", "Content-Type": "application/x"}

    @app.get("/plain")
    async def plain() -> Response:
        return constant

    running = serve(app)
    for _ in range(2):
        answer = running.get("/created")
        assert answer.status == 201
        assert answer.header("x-once") == "1"
    answer = running.get("/plain")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.header("x-once") is None


def test_an_error_handler_may_return_a_kept_response_under_request_ids(
    serve: ServeFixture,
) -> None:
    app = Ember()
    app.add_middleware(RequestIDMiddleware())
    constant = Response("no", 404)

    @app.handle(HTTPError)
    async def failed(request: Request) -> Response:
        return constant

    running = serve(app)
    first, second = running.get("/nowhere"), running.get("/nowhere")
    assert first.header("x-request-id") != second.header("x-request-id")
    assert constant.headers.get("x-request-id") is None


@pytest.mark.once
def test_a_copy_has_what_its_class_keeps() -> None:
    original = Custom()
    original.headers["A"] = "1"
    copy = original.copy()
    copy.headers["A"] = "2"
    copy.status_code = 404
    assert type(copy) is Custom
    assert copy.parts() == (1, 2, 3)
    assert (original.status_code, original.headers["A"]) == (200, "1")
