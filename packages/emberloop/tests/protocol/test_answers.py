"""What a connection sends: framing of every kind of answer, Date, HEAD, errors (E21-E24, E28)."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

import pytest
from ember.exceptions import HTTPError
from ember.protocol import MemoryConnection
from ember.request import Request
from ember.response import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from tests.support.app import App
from tests.support.server import ServeFixture

Memory = Callable[[App], MemoryConnection]
GET = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"


async def text(request: Request) -> str:
    return "hello"


def test_a_str_is_sent_as_plain_text(serve: ServeFixture) -> None:
    answer = serve(App({"/": text})).exchange(GET.format("/"))
    assert (answer.status, answer.reason, answer.body) == (200, "OK", b"hello")
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.header("content-length") == "5"
    assert answer.header("connection") is None


def test_bytes_are_sent_as_an_octet_stream(serve: ServeFixture) -> None:
    answer = serve(App({"/": lambda r: b"\0\xff"})).exchange(GET.format("/"))
    assert answer.body == b"\0\xff"
    assert answer.header("content-type") == "application/octet-stream"


def test_other_values_go_through_into_response(serve: ServeFixture) -> None:
    async def later(request: Request) -> dict[str, int]:
        return {"a": 1}

    running = serve(App({"/now": lambda r: {"a": 1}, "/later": later, "/none": lambda r: None}))
    assert running.exchange(GET.format("/now")).body == b'{"a":1}'
    assert running.exchange(GET.format("/later")).body == b'{"a":1}'
    assert running.exchange(GET.format("/none")).status == 204


def test_a_subclass_of_str_goes_through_into_response(serve: ServeFixture) -> None:
    class Special(str):
        __slots__ = ()

    class Own(App):
        def into_response(self, request: Request, value: object) -> Response:
            return Response(type(value).__name__)

    answer = serve(Own({"/": lambda r: Special("x")})).exchange(GET.format("/"))
    assert answer.body == b"Special"


def test_any_awaitable_is_awaited(serve: ServeFixture) -> None:
    class Later:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield
            return "later"

    assert serve(App({"/": lambda r: Later()})).exchange(GET.format("/")).body == b"later"


def test_head_gets_the_fields_of_get_and_no_content(serve: ServeFixture) -> None:
    running = serve(App({"/": text}))
    with running.connect() as client:
        client.send(GET.format("/").replace("GET", "HEAD") + GET.format("/"))
        head, get = client.recv_response("HEAD"), client.recv_response()
    assert head.header("content-length") == "5"
    assert head.header("content-type") == get.header("content-type")
    assert get.body == b"hello"


def test_head_of_a_stream_closes_the_stream_and_sends_no_content(serve: ServeFixture) -> None:
    pulled = []

    async def numbers(request: Request) -> StreamingResponse:
        async def produce():  # type: ignore[no-untyped-def]
            pulled.append(1)
            yield b"x"

        return StreamingResponse(produce())

    with serve(App({"/": numbers, "/next": text})).connect() as client:
        client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET.format("/next"))
        head = client.recv_response("HEAD")
        assert head.header("transfer-encoding") == "chunked"
        assert client.recv_response().body == b"hello"
    assert not pulled


def test_204_has_neither_content_nor_length(serve: ServeFixture) -> None:
    with serve(App({"/": lambda r: Response(b"", 204), "/next": text})).connect() as client:
        client.send(GET.format("/") + GET.format("/next"))
        answer = client.recv_response()
        assert answer.status == 204
        assert answer.header("content-length") is None
        assert client.recv_response().body == b"hello"


def test_304_may_tell_a_length_and_has_no_content(serve: ServeFixture) -> None:
    told = Response(b"", 304, {"Content-Length": "1234", "ETag": '"a"'})
    with serve(
        App({"/": lambda r: told, "/bare": lambda r: Response(b"", 304)})
    ).connect() as client:
        client.send(GET.format("/") + GET.format("/bare") + GET.format("/none"))
        first = client.recv_response()
        assert (first.status, first.header("content-length")) == (304, "1234")
        second = client.recv_response()
        assert (second.status, second.header("content-length")) == (304, None)
        assert client.recv_response().status == 404


def test_205_says_a_length_of_zero(serve: ServeFixture) -> None:
    answer = serve(App({"/": lambda r: Response(b"", 205)})).exchange(GET.format("/"))
    assert (answer.status, answer.header("content-length")) == (205, "0")


def test_framing_fields_of_the_user_are_not_sent(serve: ServeFixture) -> None:
    fields = {"Content-Length": "999", "Transfer-Encoding": "gzip", "X-Kept": "yes"}
    answer = serve(App({"/": lambda r: Response(b"hello", 200, fields)})).exchange(GET.format("/"))
    assert answer.header("content-length") == "5"
    assert answer.header("transfer-encoding") is None
    assert answer.header("x-kept") == "yes"
    assert answer.body == b"hello"


def test_a_response_can_ask_for_the_end_of_the_connection(serve: ServeFixture) -> None:
    closing = Response(b"bye", headers={"Connection": "close"})
    with serve(App({"/": lambda r: closing})).connect() as client:
        client.send(GET.format("/"))
        assert client.recv_response().header("connection") == "close"
        assert client.recv_until_close() == b""


def test_user_fields_keep_their_case_and_order(serve: ServeFixture) -> None:
    response = Response(b"", headers=[("x-ONE", "1"), ("X-two", "2"), ("x-one", "3")])
    answer = serve(App({"/": lambda r: response})).exchange(GET.format("/"))
    names = [name for name, _ in answer.fields if name.lower().startswith("x-")]
    assert names == ["x-ONE", "X-two", "x-one"]
    assert answer.headers["x-one"] == ["1", "3"]


def test_several_cookies_are_sent_apart(serve: ServeFixture) -> None:
    response = Response(b"")
    response.set_cookie("a", "1", max_age=60, httponly=True)
    response.set_cookie("b", "2", secure=True, samesite="strict")
    response.delete_cookie("c")
    answer = serve(App({"/": lambda r: response})).exchange(GET.format("/"))
    assert answer.headers["set-cookie"] == [
        "a=1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax",
        "b=2; Path=/; Secure; SameSite=Strict",
        "c=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Lax",
    ]


def test_date_is_now_in_the_only_format_of_http(serve: ServeFixture) -> None:
    running = serve(App({"/": text}))
    before = int(time.time())
    date = running.exchange(GET.format("/")).header("date")
    assert date is not None
    assert re.fullmatch(
        r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date
    )
    parsed = time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    assert before - 1 <= parsed <= time.time() + 1


def test_the_date_of_the_user_replaces_ours(serve: ServeFixture) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    answer = serve(App({"/": lambda r: Response(headers={"Date": date})})).exchange(GET.format("/"))
    assert answer.header("date") == date


def test_a_server_field_is_sent_when_the_user_sets_one(serve: ServeFixture) -> None:
    running = serve(App({"/": lambda r: Response(headers={"Server": "ember"}), "/bare": text}))
    assert running.exchange(GET.format("/")).header("server") == "ember"
    assert running.exchange(GET.format("/bare")).header("server") is None


def test_http_1_0_is_closed_and_told_when_it_is_not(serve: ServeFixture) -> None:
    running = serve(App({"/": text}))
    with running.connect() as client:
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        assert client.recv_response().header("connection") == "keep-alive"
        assert client.recv_response().header("connection") == "close"
        assert client.recv_until_close() == b""


def test_line_breaks_never_reach_the_wire(serve: ServeFixture) -> None:
    async def redirect(request: Request) -> Response:
        return RedirectResponse("/x\r\nSet-Cookie: a=b")

    async def header(request: Request) -> Response:
        response = Response(b"")
        response.headers["X-Evil"] = "a\r\nSet-Cookie: a=b"
        return response

    async def content_type(request: Request) -> Response:
        return HTMLResponse("x", content_type="text/html\r\nSet-Cookie: a=b")

    app = App({"/redirect": redirect, "/header": header, "/type": content_type})
    running = serve(app)
    for path in ("/redirect", "/header", "/type"):
        answer = running.exchange(GET.format(path))
        assert answer.status == 500
        assert "set-cookie" not in answer.headers
    assert [type(error) for error in app.errors] == [ValueError] * 3


@pytest.mark.parametrize("where", ["dispatch", "handler", "into_response"])
def test_every_failure_goes_to_on_error(serve: ServeFixture, where: str) -> None:
    class Failing(App):
        def into_response(self, request: Request, value: object) -> Response:
            raise HTTPError(409, "into_response")

    def dispatch(request: Request) -> object:
        raise HTTPError(409, "dispatch")

    async def handler(request: Request) -> object:
        if where == "handler":
            raise HTTPError(409, "handler", {"X-Why": "no"})
        return 1

    app = Failing({"/": dispatch if where == "dispatch" else handler})
    with serve(app).connect() as client:
        client.send(GET.format("/") + GET.format("/none"))
        answer = client.recv_response()
        assert answer.status == 409
        assert where in answer.body.decode()
        assert client.recv_response().status == 404, "the connection goes on"


def test_on_error_may_be_a_coroutine(serve: ServeFixture) -> None:
    class Later(App):
        async def on_error(self, request: Request, error: BaseException) -> Response:  # type: ignore[override]
            return JSONResponse({"error": str(error)}, 418)

    def broken(request: Request) -> object:
        raise ValueError("no")

    answer = serve(Later({"/": broken})).exchange(GET.format("/"))
    assert (answer.status, answer.body) == (418, b'{"error":"no"}')


def test_a_failing_on_error_is_a_bare_500_with_the_traceback_in_the_log(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(App):
        def on_error(self, request: Request, error: BaseException) -> Response:
            raise RuntimeError("the error handler is broken too")

    async def handler(request: Request) -> object:
        raise ValueError("secret")

    with serve(Broken({"/": handler})).connect() as client:
        with caplog.at_level(logging.ERROR):
            client.send(GET.format("/"))
            answer = client.recv_response()
        assert answer.status == 500
        assert b"secret" not in answer.body
        client.send(GET.format("/none"))
        assert client.recv_response().status == 404
    assert "the error handler is broken too" in caplog.text


def test_a_broken_request_is_one_log_line_without_traceback(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve(App())
    with caplog.at_level(logging.WARNING, "ember.protocol"):
        answer = running.exchange("GET / HTTP/1.1\r\n\r\n")
    assert answer.status == 400
    records = [record for record in caplog.records if record.name == "ember.protocol"]
    assert len(records) == 1
    assert records[0].levelno == logging.WARNING
    assert records[0].exc_info is None
    assert "Host" in records[0].getMessage()
    assert "127.0.0.1" in records[0].getMessage()


def test_context_variables_do_not_leak_from_one_request_to_the_next(serve: ServeFixture) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="clean")

    def sync(request: Request) -> str:
        before = variable.get()
        variable.set("dirty")
        return before

    async def later(request: Request) -> str:
        return sync(request)

    with serve(App({"/sync": sync, "/later": later})).connect() as client:
        client.send((GET.format("/sync") + GET.format("/later")) * 2)
        assert [client.recv_response().body for _ in range(4)] == [b"clean"] * 4


def test_an_empty_answer_with_fields_follows_a_wait(memory: Memory) -> None:
    """Outside of the receiving turn nothing is collected when the empty body is written."""

    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return RedirectResponse("/next", 303)

    async def main() -> bytes:
        app = App({"/": handler})
        connection = memory(app)
        connection.feed(GET.format("/").encode())
        sent = b""
        while not sent:
            await asyncio.sleep(0)
            sent = connection.take()
        assert app.errors == []
        return sent

    assert b"Location: /next\r\nContent-Length: 0\r\n" in asyncio.run(main())
