"""The application over real sockets: verbs, return values, errors, hooks."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import pydantic
import pytest
from ember import (
    Ember,
    HTTPError,
    NotFound,
    Request,
    Response,
    RouteError,
    abort,
)
from ember.protocol import MemoryConnection

from tests.support.server import Running, ServeFixture


def body(server: Running, path: str, method: str = "GET") -> tuple[int, str | None, bytes]:
    answer = server.request(method, path)
    return answer.status, answer.header("content-type"), answer.body


# -- verbs and options (E1, E23, E30) ---------------------------------------------------------


def test_every_verb_reaches_its_handler(serve: ServeFixture) -> None:
    app = Ember()

    async def handler(request: Request) -> Response:
        return Response(b"", 200, {"X-Verb": request.method})

    verbs = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    for verb in verbs:
        getattr(app, verb.lower())(f"/{verb}")(handler)
    app.add_route("/added", handler, methods=["PURGE", "get"])
    app.route("/both", methods=["GET", "POST"], name="both")(handler)
    server = serve(app)
    for verb in verbs:
        assert server.request(verb, f"/{verb}").header("x-verb") == verb
    for verb, path in [("PURGE", "/added"), ("GET", "/added"), ("GET", "/both"), ("POST", "/both")]:
        assert server.request(verb, path).header("x-verb") == verb


def test_head_options_and_a_wrong_method_are_answered_by_the_router(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/x/{n:int}")
    async def x(n: int) -> str:
        return f"number {n}"

    @app.post("/x/{n:int}")
    async def y(n: int) -> str:
        return "posted"

    server = serve(app)
    with server.connect() as client:
        client.send("HEAD /x/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.recv_response("HEAD")
        assert (answer.status, answer.header("content-length")) == (200, "8")
        client.send("OPTIONS /x/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.recv_response()
        assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS, POST")
        client.send("DELETE /x/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.recv_response()
        assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS, POST")
        client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.recv_response()
        assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS, POST")
        client.send("GET http://a/x/2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv_response().body == b"number 2"


def test_an_encoded_slash_stays_inside_its_parameter(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/items/{name}")
    async def item(name: str) -> str:
        return name

    @app.get("/café/{name}")
    async def other(name: str) -> str:
        return f"café {name}"

    @app.get("/thé")
    async def tea() -> str:
        return "thé"

    server = serve(app)
    assert server.get("/items/a%20b%2Fc").body == b"a b/c"
    assert server.get("/caf%c3%a9/%E2%82%AC").body == "café €".encode()
    assert server.get("/th%C3%A9").body == server.get("/th%c3%a9").body == "thé".encode()
    for bad in ["%00", "%C0%AF", "%FF", "%ED%A0%80"]:
        assert server.get(f"/items/{bad}").status == 400


@dataclass
class Point:
    x: int
    y: int


class Struct(msgspec.Struct):
    name: str


class Pydantic(pydantic.BaseModel):
    born: date = date(2020, 1, 2)


async def numbers() -> AsyncIterator[str]:
    yield "1"
    yield "2"


JSON, TEXT, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: {"a": [1, 2.5, None]}, (200, JSON, b'{"a":[1,2.5,null]}')),
        (lambda: [1, "é"], (200, JSON, '[1,"é"]'.encode())),
        (lambda: 7, (200, JSON, b"7")),
        (lambda: 1.5, (200, JSON, b"1.5")),
        (lambda: True, (200, JSON, b"true")),
        (lambda: Point(1, 2), (200, JSON, b'{"x":1,"y":2}')),
        (lambda: Struct("n"), (200, JSON, b'{"name":"n"}')),
        (Pydantic, (200, JSON, b'{"born":"2020-01-02"}')),
        (lambda: {"m": Pydantic()}, (200, JSON, b'{"m":{"born":"2020-01-02"}}')),
        (lambda: "text", (200, TEXT, b"text")),
        (lambda: b"\x00", (200, BYTES, b"\x00")),
        (lambda: bytearray(b"ab"), (200, BYTES, b"ab")),
        (lambda: None, (204, None, b"")),
        (lambda: ({"a": 1}, 202), (202, JSON, b'{"a":1}')),
        (lambda: ("no", 418, {"X-A": "1"}), (418, TEXT, b"no")),
        (lambda: ("<p>", 200, {"Content-Type": "text/html"}), (200, "text/html", b"<p>")),
        (lambda: (None, 202), (202, None, b"")),
        (lambda: (Response("r", 200), 203), (203, TEXT, b"r")),
        (lambda: Response("x", 203, None, "text/css"), (203, "text/css", b"x")),
        (numbers, (200, BYTES, b"12")),
    ],
)
def test_every_kind_of_return_value_has_its_answer(
    serve: ServeFixture, make: Any, expected: tuple[int, str | None, bytes]
) -> None:
    app = Ember()

    @app.get("/async")
    async def from_async() -> Any:
        return make()

    @app.get("/thread")
    def from_thread() -> Any:
        return make()

    @app.get("/inline", inline=True)
    def from_inline(request: Request) -> Any:
        return make()

    server = serve(app)
    for path in ["/async", "/thread", "/inline"]:
        assert body(server, path) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, (201, JSON, b'{"a":1}')),
        ("text", (201, TEXT, b"text")),
        (b"b", (201, BYTES, b"b")),
        (None, (201, None, b"")),
        (("t", 202), (202, TEXT, b"t")),
        (Response("r", 203), (203, TEXT, b"r")),
    ],
)
def test_a_declared_status_is_for_answers_that_bring_none(
    serve: ServeFixture, value: Any, expected: tuple[int, str | None, bytes]
) -> None:
    app = Ember()

    @app.post("/async", status_code=201)
    async def from_async() -> Any:
        return value

    @app.post("/thread", status_code=201)
    def from_thread() -> Any:
        return value

    server = serve(app)
    assert body(server, "/async", "POST") == expected
    assert body(server, "/thread", "POST") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "returned a value of type set, which has no response; return a list"),
        (object(), "returned a value of type object, which has no response; return a dict"),
        (iter([1]), "returned a value of type list_iterator, which has no response; make it an"),
        (("a",), "returned a tuple of 1: (str); expected (body, status)"),
        (("a", "b"), "returned a tuple of 2: (str, str); expected (body, status)"),
        (("a", 99), "returned a tuple of 2: (str, int); expected (body, status)"),
        ((("a", 200), 200), "returned a tuple inside a tuple"),
        ({"a": object()}, "returned a dict that has no JSON form: a value of type object has no"),
    ],
)
def test_a_value_without_an_answer_is_500_and_the_log_names_handler_and_type(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture, value: Any, message: str
) -> None:
    app = Ember()

    @app.get("/wrong/{n}")
    async def wrong(n: str) -> Any:
        return value

    answer = serve(app).get("/wrong/1")
    assert answer.status == 500
    assert "wrong" not in answer.body.decode()
    (record,) = [r for r in caplog.records if r.name == "ember.error"]
    assert 'route "GET /wrong/{n}"' in record.getMessage()
    assert "wrong) " + message in record.getMessage()


# -- errors (E7, E38) -------------------------------------------------------------------------


def failing_app(**options: Any) -> Ember:
    app = Ember(**options)

    @app.get("/boom/{n:int}")
    async def boom(n: int) -> None:
        raise ValueError("the secret is 42")

    @app.get("/thread")
    def thread() -> None:
        raise ValueError("in a thread")

    return app


def test_an_exception_is_an_opaque_500_and_its_traceback_goes_to_the_log(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(failing_app())
    answer = server.get("/boom/1", {"Accept": "text/html"})
    assert (answer.status, answer.header("content-type")) == (500, "application/problem+json")
    problem = json.loads(answer.body)
    assert problem["title"] == "Internal Server Error"
    assert "secret" not in answer.body.decode()
    (record,) = [r for r in caplog.records if r.name == "ember.error"]
    assert problem["request_id"] in record.getMessage()
    assert "failing_app.boom" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert server.get("/thread").status == 500


def test_in_debug_a_browser_gets_a_page_and_a_program_does_not(serve: ServeFixture) -> None:
    server = serve(failing_app(debug=True))
    page = server.get("/boom/1", {"Accept": "text/html,*/*", "X-A": "<b>"})
    assert (page.status, page.header("content-type")) == (500, "text/html; charset=utf-8")
    text = page.body.decode()
    assert "ValueError: the secret is 42" in text
    assert "raise ValueError(&quot;the secret is 42&quot;)" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert b"secret" not in server.get("/boom/1", {"Accept": "application/json"}).body


def test_an_http_error_is_a_problem_with_its_detail_and_headers(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/a")
    async def a() -> None:
        raise HTTPError(409, "taken", {"X-A": "1"})

    @app.get("/b")
    def b() -> None:
        abort(404, "no such task")

    server = serve(app)
    answer = server.get("/a")
    assert (answer.status, answer.header("x-a")) == (409, "1")
    assert answer.header("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert len(problem.pop("request_id")) == 16
    assert problem == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "taken",
    }
    assert json.loads(server.get("/b").body)["detail"] == "no such task"
    assert json.loads(server.get("/nowhere").body)["detail"] == "nothing is at /nowhere"


class MyError(Exception):
    pass


class MyChild(MyError):
    pass


class MyNotFound(NotFound):
    pass


def test_registered_handlers_answer_for_statuses_and_classes(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    raised: dict[str, Exception] = {
        "child": MyChild("c"),
        "mine": MyNotFound("m"),
        "plain": NotFound("p"),
        "teapot": HTTPError(418),
        "key": KeyError("k"),
    }

    @app.get("/raise/{what}")
    async def fail(what: str) -> None:
        raise raised[what]

    @app.handle(MyError)
    async def on_mine(request: Request, error: MyError) -> tuple[str, int]:
        return f"{type(error).__name__} {request.path_params['what']}", 422

    @app.handle(MyNotFound)
    def on_my_not_found(request: Request, error: MyNotFound) -> dict[str, str]:
        return {"mine": error.detail}

    @app.handle(404)
    def on_404(request: Request) -> str:
        return f"404 at {request.path}"

    @app.handle(405)
    async def on_405(request: Request, error: HTTPError) -> Response:
        return Response("405", 405, error.headers)

    @app.handle(HTTPError)
    def on_http(request: Request, error: HTTPError) -> str:
        return "http"

    @app.handle(Exception)
    def on_any(request: Request, error: Exception) -> str:
        return "any"

    server = serve(app)

    def get(path: str, method: str = "GET") -> tuple[int, str]:
        answer = server.request(method, path)
        return answer.status, answer.body.decode()

    assert get("/raise/child") == (422, "MyChild child")
    assert get("/raise/mine") == (404, '{"mine":"m"}')
    assert get("/raise/plain") == (404, "404 at /raise/plain")
    assert get("/raise/teapot") == (418, "http")
    assert get("/nowhere") == (404, "404 at /nowhere")
    assert get("/raise/x", "POST") == (405, "405")
    assert not [r for r in caplog.records if r.name == "ember.error"]
    # A handler for everything unforeseen does not hide it from the log.
    assert get("/raise/key") == (500, "any")
    assert len([r for r in caplog.records if r.name == "ember.error"]) == 1


def test_an_error_handler_that_fails_leaves_a_bare_500(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = failing_app()

    @app.handle(ValueError)
    async def worse(request: Request, error: ValueError) -> None:
        raise RuntimeError("worse")

    answer = serve(app).get("/boom/1")
    assert answer.status == 500
    assert any("worse" in str(r.exc_info) for r in caplog.records if r.exc_info)


@pytest.mark.parametrize(
    ("what", "handler", "message"),
    [
        (200, lambda r, e: "", "handle(200): expected a status from 400 to 599 or a subclass"),
        (str, lambda r, e: "", "expected a status from 400 to 599 or a subclass of Exception"),
        (404, lambda: "", "takes (request, error) or (request)"),
        (404, lambda a, b, c: "", "takes (request, error) or (request)"),
    ],
)
def test_an_error_handler_that_cannot_work_says_why(what: Any, handler: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        Ember().handle(what)(handler)


# -- routing options --------------------------------------------------------------------------


def test_what_is_not_found_goes_to_on_error_where_somebody_listens() -> None:
    seen: list[str] = []

    class Listening(Ember):
        def on_error(self, request: Request, error: BaseException) -> Any:
            seen.append(f"{type(error).__name__} {request.app is self}")
            return super().on_error(request, error)

    answers = []
    for app in (Ember(), Listening()):
        app.get("/a%20b/{x}")(lambda x: None)
        connection = MemoryConnection(app)
        connection.feed(b"GET /caf%C3%A9%22%5C HTTP/1.1\r\nHost: a\r\n\r\n")
        answers.append(connection.take())
    assert seen == ["NotFound True"]
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json")
        problem = json.loads(body)
        assert len(problem.pop("request_id")) == 16
        assert problem == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": 'nothing is at /caf\u00e9"\\',
        }


def test_fallback_answers_instead_of_404_but_not_of_405(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/x")
    async def x() -> str:
        return "x"

    @app.fallback
    async def anything(request: Request) -> tuple[str, int]:
        return f"{request.method} {request.path}", 203

    server = serve(app)
    assert body(server, "/x")[2] == b"x"
    assert body(server, "/a/b%20c", "DELETE")[::2] == (203, b"DELETE /a/b c")
    assert body(server, "/x", "POST")[0] == 405


def test_slashes_are_exact_unless_redirecting_is_asked_for(serve: ServeFixture) -> None:
    def make(redirect: bool) -> Running:
        app = Ember(redirect_slashes=redirect)

        @app.get("/a/")
        @app.post("/b")
        @app.get("/c/{x}")
        async def handler(request: Request) -> str:
            return "ok"

        return serve(app)

    strict, kind = make(False), make(True)
    for path, method, target in [
        ("/a?x=1&y", "GET", "/a/?x=1&y"),
        ("/b/", "POST", "/b"),
        ("/c/%20/", "GET", "/c/%20"),
    ]:
        assert strict.request(method, path).status == 404
        answer = kind.request(method, path)
        assert (answer.status, answer.header("location")) == (308, target)
    assert kind.get("//c/x/").status == 404


def test_url_for_quotes_and_checks() -> None:
    app = Ember()

    async def handler(request: Request) -> None: ...

    app.get("/tasks/{id:int}", name="task")(handler)
    app.get("/files/{p:path}", name="file")(handler)
    app.get("/u/{name}/é", name="user")(handler)
    app.get("/v{x:float}", name="version")(handler)
    app.get("/plain")(handler)
    assert app.url_for("task", id=3) == "/tasks/3"
    assert app.url_for("file", p="a b/c?d") == "/files/a%20b/c%3Fd"
    assert app.url_for("user", name="a/b é#") == "/u/a%2Fb%20%C3%A9%23/%C3%A9"
    assert app.url_for("version", x=1.5) == "/v1.5"
    assert app.url_for("handler") == "/plain"
    with pytest.raises(LookupError, match='no route is called "nope"; known: file, handler, task'):
        app.url_for("nope")
    with pytest.raises(ValueError, match=r'route "/tasks/{id:int}" lacks "id" and has no .* "ix"'):
        app.url_for("task", ix=3)
    with pytest.raises(ValueError, match="'x' does not fit \"id\""):
        app.url_for("task", id="x")
    with pytest.raises(ValueError, match="'' does not fit \"name\""):
        app.url_for("user", name="")


@pytest.mark.slow
def test_a_million_distinct_paths_leave_nothing_behind() -> None:
    """E33, by the fastest way there is: pipelined, from memory."""
    from ember._build import PURE
    from ember.protocol import MemoryConnection

    app = Ember()

    @app.get("/i/{n}")
    async def item(n: int, request: Request) -> str:
        return str(n)

    def rss() -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    connection = MemoryConnection(app)

    def ask(start: int, stop: int) -> None:
        for n in range(start, stop, 50):
            connection.feed(
                b"".join(b"GET /i/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(n, n + 50))
            )
            assert connection.take().count(b"HTTP/1.1 200 OK") == 50

    ask(0, 10_000)
    before = rss()
    # The pure build takes 20 µs for each; what is kept per path shows just as well.
    ask(10_000, 200_000 if PURE else 1_000_000)
    assert rss() - before < 1024


def test_a_converter_of_ones_own_is_used_by_routes_and_by_url_for(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/c/{colour:hex}")
    async def show(colour: bytes) -> str:
        return repr(colour)

    with pytest.raises(RouteError, match='unknown converter "hex"; known: int, str'):
        app.freeze()
    app.add_converter("hex", "[0-9a-f]{6}", bytes.fromhex, bytes.hex)
    server = serve(app)
    assert server.get("/c/c0ffee").body == b"b'\\xc0\\xff\\xee'"
    assert server.get("/c/coffee").status == 404
    assert app.url_for("show", colour=b"\x01\x02\x03") == "/c/010203"


def test_a_route_that_is_added_while_serving_is_served(serve: ServeFixture) -> None:
    app = Ember()
    server = serve(app)
    assert server.get("/late").status == 404

    @app.get("/late")
    async def late() -> str:
        return "late"

    assert server.get("/late").body == b"late"
