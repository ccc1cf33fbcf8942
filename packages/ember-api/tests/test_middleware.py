"""Middlewares and the hooks of endpoints over real sockets: forms, order, errors, what they see."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from ember import (
    Blueprint,
    Depends,
    Ember,
    Events,
    NotFound,
    Request,
    Response,
    RouteError,
    RouteLimits,
)
from ember.application.hooks import HookError
from ember.middleware.chain import Hooks, around_endpoint
from ember.protocol import MemoryConnection
from ember.routing.dispatch import Endpoint

from tests.support.server import ServeFixture

Next = Callable[[Request], Awaitable[Response]]
Middleware = Callable[[Request, Next], Awaitable[Response]]
variable: ContextVar[str] = ContextVar("variable", default="unset")


@dataclass
class Item:
    name: str


def named(name: str, seen: list[str]) -> Middleware:
    async def middleware(request: Request, call_next: Next) -> Response:
        seen.append(f"{name} in")
        response = await call_next(request)
        seen.append(f"{name} out {response.status_code}")
        return response

    return middleware


async def hello() -> str:
    return "hello"


# -- order (E45) ------------------------------------------------------------------------------


def test_the_order_is_global_group_route_whatever_the_order_of_registration(
    serve: ServeFixture,
) -> None:
    seen: list[str] = []
    app = Ember()
    group = app.group("/g", middlewares=[named("group", seen)])
    inner = Blueprint("/i", middlewares=[named("inner", seen)])
    inner.get("/", middlewares=[named("route", seen), named("second", seen)])(hello)
    group.add_blueprint(inner)
    group.add_middleware(named("group too", seen))
    app.add_middleware(named("app", seen))
    app.get("/")(hello)
    server = serve(app)
    assert server.get("/g/i/").body == b"hello"
    order = ["app", "group", "group too", "inner", "route", "second"]
    assert seen == [f"{n} in" for n in order] + [f"{n} out 200" for n in order[::-1]]
    seen.clear()
    assert server.get("/").body == b"hello"
    assert seen == ["app in", "app out 200"]


def test_a_route_without_middleware_is_called_as_it_was() -> None:
    app = Ember()
    app.group("/g", middlewares=[named("g", [])]).get("/")(hello)
    route = app.add_route("/", hello)
    endpoint = Endpoint(route, hello, [], (), (), None, app)
    assert around_endpoint(endpoint, route, (app,), app.on_error, Hooks()) is endpoint


# -- forms (E70) ------------------------------------------------------------------------------


def test_every_form_of_middleware_works_sync_and_async(serve: ServeFixture) -> None:
    seen: list[str] = []

    class Both:
        def before(self, request: Request) -> None:
            seen.append("before")

        async def after(self, request: Request, response: Response) -> None:
            seen.append(f"after {response.status_code}")

    class OnlyAfter:
        def after(self, request: Request, response: Response) -> Response:
            seen.append("only after")
            return Response(response.body + b"!", response.status_code)

    class AsyncBefore:
        async def before(self, request: Request) -> None:
            seen.append("async before")

    class Callable_:
        async def __call__(self, request: Request, call_next: Next) -> Response:
            seen.append("object in")
            return await call_next(request)

    async def plain_async(request: Request) -> None:
        seen.append("async callable")

    def plain(request: Request) -> None:
        seen.append("callable")

    async def configured(level: int, request: Request, call_next: Next) -> Response:
        seen.append(f"partial {level}")
        return await call_next(request)

    app = Ember()
    for middleware in (
        Both(),
        OnlyAfter(),
        AsyncBefore(),
        Callable_(),
        plain_async,
        plain,
        partial(configured, 3),
    ):
        app.add_middleware(middleware)
    app.get("/")(hello)
    assert serve(app).get("/").body == b"hello!"
    assert seen == [
        "before",
        "async before",
        "object in",
        "async callable",
        "callable",
        "partial 3",
        "only after",
        "after 200",
    ]


def test_a_before_that_returns_something_is_the_answer(serve: ServeFixture) -> None:
    seen: list[str] = []

    class Guard:
        async def before(self, request: Request) -> object:
            return ({"refused": True}, 403) if "x-bad" in request.headers else None

        def after(self, request: Request, response: Response) -> None:
            seen.append(f"guard {response.status_code}")

    app = Ember()
    app.add_middleware(named("outer", seen))
    app.add_middleware(Guard())
    app.add_middleware(named("inner", seen))
    app.get("/")(hello)
    server = serve(app)
    with server.connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Bad: 1\r\n\r\n")
        answer = client.recv_response()
        assert (answer.status, json.loads(answer.body)) == (403, {"refused": True})
    assert seen == ["outer in", "guard 403", "outer out 403"]


def test_what_handlers_bind_and_return_stays_possible(serve: ServeFixture) -> None:
    app = Ember()
    seen: list[str] = []
    app.add_middleware(named("m", seen))

    async def session() -> AsyncIterator[str]:
        yield "session"
        seen.append("closed")

    @app.post("/items/{id:int}")
    async def create(id: int, item: Item, copies: int = 1, s: str = Depends(session)) -> Any:
        return {"id": id, "name": item.name, "copies": copies, "s": s}

    @app.get("/stream/{n}")
    async def stream(n: int) -> AsyncIterator[str]:
        for i in range(n):
            yield f"{i},"

    @app.get("/thread/{a}/{b:path}", status_code=202)
    def thread(b: str, a: str, request: Request) -> str:
        return f"{a} {b} {request.path_params}"

    app.get("/none")(lambda: None)
    server = serve(app)
    with server.connect() as client:
        client.send(
            "POST /items/7?copies=2 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            'Content-Length: 14\r\n\r\n{"name": "it"}'
        )
        answer = client.recv_response()
        expected = {"id": 7, "name": "it", "copies": 2, "s": "session"}
        assert json.loads(answer.body) == expected
    assert server.get("/stream/3").body == b"0,1,2,"
    answer = server.get("/thread/x/y/z%20")
    assert (answer.status, answer.body) == (202, b"x y/z  {'a': 'x', 'b': 'y/z '}")
    assert server.get("/none").status == 204
    server.stop()  # waits for what follows an answer
    assert seen.count("m out 200") == 2
    assert "closed" in seen


def test_a_context_variable_set_in_a_middleware_is_seen_by_the_handler(
    serve: ServeFixture,
) -> None:
    async def around(request: Request, call_next: Next) -> Response:
        variable.set(variable.get() + " around")
        return await call_next(request)

    async def before(request: Request) -> None:
        variable.set(variable.get() + " before")

    app = Ember()
    app.add_middleware(around)
    app.add_middleware(before)

    @app.get("/async")
    async def on_loop() -> str:
        return variable.get()

    @app.get("/sync")
    def in_thread() -> str:
        return variable.get()

    server = serve(app)
    for path in ["/async", "/sync", "/async"]:  # and each request begins again
        assert server.get(path).body == b"unset around before"


# -- errors -----------------------------------------------------------------------------------


def test_after_runs_on_errors_and_sees_their_responses(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    class Stamp:
        def after(self, request: Request, response: Response) -> None:
            seen.append(f"after {response.status_code}")
            response.headers["X-Stamp"] = "1"

    app = Ember()
    app.add_middleware(named("m", seen))
    app.add_middleware(Stamp())

    @app.get("/missing")
    async def missing() -> None:
        raise NotFound("no such thing")

    @app.get("/broken")
    def broken() -> None:
        raise ValueError("the reason")

    @app.get("/unsupported")
    async def unsupported() -> object:
        return {1, 2}

    @app.get("/custom")
    async def custom() -> None:
        raise KeyError

    @app.handle(KeyError)
    async def handled(request: Request) -> str:
        return "handled"

    server = serve(app)
    with caplog.at_level(logging.ERROR, "ember.error"):
        for path, status in {"missing": 404, "broken": 500, "unsupported": 500}.items():
            seen.clear()
            answer = server.get(f"/{path}")
            assert (answer.status, answer.header("x-stamp")) == (status, "1")
            assert seen == ["m in", f"after {status}", f"m out {status}"]
    assert [r.getMessage() for r in caplog.records if "the reason" in r.getMessage()]
    assert any("unsupported" in r.getMessage() and "set" in r.getMessage() for r in caplog.records)
    assert server.get("/custom").body == b"handled"


def test_a_middleware_that_fails_is_answered_inside_those_around_it(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    class FailsAfter:
        def after(self, request: Request, response: Response) -> None:
            raise RuntimeError("after failed")

    async def fails(request: Request, call_next: Next) -> Response:
        raise NotFound("hidden")

    async def forgets(request: Request, call_next: Next) -> Any:
        await call_next(request)

    app = Ember()
    app.add_middleware(named("m", seen))
    app.get("/after", middlewares=[FailsAfter()])(hello)
    app.get("/fails", middlewares=[fails])(hello)
    app.get("/forgets", middlewares=[forgets])(hello)
    server = serve(app)
    with caplog.at_level(logging.ERROR, "ember.error"):
        statuses = [server.get(path).status for path in ("/after", "/fails", "/forgets")]
    assert statuses == [500, 404, 500]
    assert [s for s in seen if "out" in s] == ["m out 500", "m out 404", "m out 500"]
    assert any(
        "forgets returned None; return the response of call_next" in r.message
        for r in caplog.records
    )


def test_an_error_handler_that_fails_is_a_bare_500_that_middlewares_see(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    app = Ember()
    app.add_middleware(named("m", seen))

    @app.get("/")
    async def index() -> None:
        raise KeyError

    @app.handle(KeyError)
    def handled(request: Request) -> None:
        raise ValueError("in the handler")

    with caplog.at_level(logging.ERROR):
        answer = serve(app).get("/")
    assert (answer.status, seen) == (500, ["m in", "m out 500"])
    assert len([r for r in caplog.records if "error handler failed" in r.message]) == 1


def test_the_applications_middlewares_are_around_what_has_no_route(serve: ServeFixture) -> None:
    seen: list[str] = []
    app = Ember(redirect_slashes=True)
    app.add_middleware(named("app", seen))
    part = app.group("/part", middlewares=[named("part", seen)])
    part.get("/x")(hello)
    server = serve(app)
    wanted = [
        ("GET", "/nothing", 404),
        ("GET", "/part/nothing", 404),
        ("POST", "/part/x", 405),
        ("OPTIONS", "/part/x", 204),
        ("GET", "/part/x/", 308),
    ]
    for method, path, status in wanted:
        seen.clear()
        assert server.request(method, path).status == status
        assert seen == ["app in", f"app out {status}"], path
    app.fallback(lambda request: f"fallback {request.path}")
    assert server.get("/nothing").body == b"fallback /nothing"
    assert server.get("/part/%78").body == b"hello"


def test_a_refused_upload_is_refused_without_its_body(serve: ServeFixture) -> None:
    def guard(request: Request) -> object:
        return None if "authorization" in request.headers else Response(b"", 401)

    app = Ember()
    upload = app.group(middlewares=[guard], limits=RouteLimits(max_body_size=10))

    @upload.post("/")
    async def post(request: Request) -> str:
        return str(len(await request.body()))

    server = serve(app)
    with server.connect() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert client.recv_response().status == 401  # and not one byte of the body was sent
    with server.connect() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nContent-Length: 11\r\n\r\n")
        assert client.recv_response().status == 413


# -- hooks (E35, E37) -------------------------------------------------------------------------


def test_endpoint_hooks_run_from_the_application_in_and_back_out(serve: ServeFixture) -> None:
    seen: list[str] = []
    app = Ember()
    outer = Blueprint("/o", middlewares=[named("m", seen)])
    inner = outer.group("/i")

    def declare(part: Blueprint, name: str) -> None:
        @part.hook(Events.AFTER_ENDPOINT)
        def after(request: Request, response: Response) -> None:
            seen.append(f"{name} after {response.status_code}")

        @part.hook(Events.BEFORE_ENDPOINT)
        async def before(request: Request) -> None:
            seen.append(f"{name} before")

        part.get("/")(hello)

        @part.get("/fails")
        async def fails() -> None:
            raise NotFound

    for part, name in ((inner, "inner"), (outer, "outer"), (app, "app")):
        declare(part, name)
    app.add_blueprint(outer)
    server = serve(app)
    for path, status in {"": 200, "fails": 404}.items():
        seen.clear()
        assert server.get(f"/o/i/{path}").status == status
        befores, parts = ["app before", "outer before", "inner before"], ("inner", "outer", "app")
        afters = [f"{part} after {status}" for part in parts]
        assert seen == ["m in", *befores, *afters, f"m out {status}"]
    seen.clear()
    assert server.get("/").body == b"hello"
    assert seen == ["app before", "app after 200"]
    seen.clear()
    assert server.get("/o/nothing").status == 404
    assert seen == []  # no endpoint


def test_a_before_endpoint_hook_may_answer_and_an_after_hook_replace(serve: ServeFixture) -> None:
    app = Ember()
    closed = app.group("/closed")

    @closed.hook(Events.BEFORE_ENDPOINT)
    def refuse(request: Request) -> tuple[str, int]:
        return "closed", 403

    @app.hook(Events.AFTER_ENDPOINT)
    async def replace(request: Request, response: Response) -> object:
        return {"was": response.status_code} if "x" in request.args else None

    for part in (app, closed):
        part.get("/{n:int}")(hello)
    server = serve(app)
    assert (server.get("/closed/1").status, server.get("/closed/1").body) == (403, b"closed")
    assert json.loads(server.get("/closed/1?x=1").body) == {"was": 403}
    assert server.get("/1").body == b"hello"


# -- mistakes ---------------------------------------------------------------------------------


def test_a_middleware_that_cannot_be_called_is_an_error_that_names_it() -> None:
    class Neither: ...

    class Timing:
        def after(self, request: Request) -> None: ...

    class BadBefore:
        async def before(self) -> None: ...

    class Text:
        before = "x"

    class Ambiguous:
        def before(self, request: Request) -> None: ...
        def __call__(self, request: Request) -> None: ...

    async def three(a: Any, b: Any, c: Any) -> None: ...
    def blocking(request: Request, call_next: Next) -> None: ...
    async def late(request: Request, response: Response) -> None: ...
    async def anything(*args: Any) -> None: ...

    wrong: list[tuple[Any, str]] = [
        (
            Neither(),
            r"Neither is not a middleware; a middleware is .async def m\(request, call_next\)",
        ),
        (Timing, r"Timing is a class; add an instance of it: Timing\(...\)"),
        (Timing(), r"Timing.after\(.*\).*: expected after\(request, response\)"),
        (BadBefore(), r"BadBefore.before\(\).*: expected before\(request\)"),
        (Text(), r"Text.before is not callable"),
        (Ambiguous(), "Ambiguous can be called and has before or after"),
        (three, r"three\(a.*c.*\).*: expected a middleware is"),
        (blocking, r"blocking\(request, call_next\) has to await call_next; make it .async def."),
        (late, r"late\(request, response\): make it the method .after. of an object"),
        (anything, r"anything\(\*args"),
        (3, "middleware int is not a middleware"),
    ]
    for middleware, message in wrong:
        for add in (
            Ember().add_middleware,
            lambda m: Blueprint(middlewares=[m]),
            lambda m: Ember().get("/", middlewares=[m])(hello),
        ):
            with pytest.raises(RouteError, match=message):
                add(middleware)


def test_a_hook_that_cannot_be_called_is_an_error_that_names_it() -> None:
    app, part = Ember(), Blueprint()

    async def none() -> None: ...

    with pytest.raises(HookError, match=r"none: a hook of Events.BEFORE_ENDPOINT takes \(request"):
        app.hook(Events.BEFORE_ENDPOINT)(none)
    with pytest.raises(HookError, match=r"AFTER_ENDPOINT takes \(request, response\)"):
        part.hook(Events.AFTER_ENDPOINT)(none)
    with pytest.raises(HookError, match="only an application has Events"):
        part.hook(Events.BEFORE_SERVER_START)(none)
    with pytest.raises(HookError, match="expected one of"):
        part.hook("before")(none)  # type: ignore[arg-type]


def test_a_middleware_added_while_serving_is_around_the_next_request() -> None:
    app, seen = Ember(), list[str]()
    app.get("/")(hello)
    connection = MemoryConnection(app)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    connection.feed(request)
    app.add_middleware(named("m", seen))
    connection.feed(request)
    assert connection.take().count(b"hello") == 2
    assert seen == ["m in", "m out 200"]
