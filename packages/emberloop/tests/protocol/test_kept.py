"""Answers that the connection gives without making a request: what it gives, and to whom."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

import pytest
from ember._build import PURE
from ember.limits import ServerLimits
from ember.protocol import Kept, KeptAnswers, MemoryConnection, Tally
from ember.request import Request
from ember.response import Response

from tests.support.app import App
from tests.support.server import ServeFixture

pytestmark = pytest.mark.skipif(PURE, reason="the pure connection makes a request of each")

FRESH = b"\r\n\r\nfrom the application"
KEPT = b"\r\n\r\nkept"


class KeepingApp(App):
    """Answers everything itself, unless it is kept."""

    def __init__(self, limits: ServerLimits | None = None) -> None:
        super().__init__({"*": self.answer}, limits=limits)
        self.kept_answers = KeptAnswers()
        self.tally = Tally()
        self.asked = 0

    def answer(self, request: Request) -> Response:
        self.asked += 1
        return Response(b"from the application")

    def keep(
        self,
        target: bytes = b"GET /x",
        body: bytes = b"kept",
        *,
        age: float = 0.0,
        seconds: float = math.inf,
        host: bytes = b"a",
        scheme: str = "http",
        fields: dict[str, str] | None = None,
    ) -> Kept | None:
        response = Response(body, content_type="text/plain")
        for name, value in (fields or {}).items():
            response.headers[name] = value
        response.headers["Age"] = "0"
        now = time.monotonic()
        return self.kept_answers.keep(
            target,
            response,
            host=host,
            scheme=scheme,
            stored_at=now - age,
            fresh_until=now + seconds,
            tally=self.tally,
        )


def ask(app: App, request: str, **limits: int) -> bytes:
    connection = MemoryConnection(app)
    connection.feed(request.encode("latin-1"))
    return connection.take()


def get(target: str, *fields: str, version: str = "1.1", method: str = "GET") -> str:
    lines = [f"{method} {target} HTTP/{version}", "Host: a", *fields]
    return "\r\n".join(lines) + "\r\n\r\n"


def test_a_stored_response_is_sent_with_its_age_and_counted() -> None:
    app = KeepingApp()
    app.keep(age=7.5, fields={"X-One": "1"})
    out = ask(app, get("/x") * 2)
    assert re.sub(rb"Date: [^\r]*", b"Date: now", out) == 2 * (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-One: 1\r\nAge: 7\r\n"
        b"Content-Length: 4\r\nDate: now\r\n\r\nkept"
    )
    assert (app.asked, app.tally.hits) == (0, 2)


def test_it_is_given_to_head_without_the_body() -> None:
    app = KeepingApp()
    app.keep()
    out = ask(app, get("/x", method="HEAD") + get("/x"))
    assert out.count(b"Content-Length: 4\r\n") == 2
    assert out.count(KEPT) == 1
    assert out.endswith(KEPT)
    assert app.asked == 0


@pytest.mark.parametrize(
    ("request_", "connection"),
    [
        (get("/x", version="1.0"), b"close"),
        (get("/x", "Connection: close"), b"close"),
        (get("/x", "Connection: keep-alive", version="1.0"), b"keep-alive"),
        (get("/x"), None),
    ],
)
def test_persistence_is_that_of_any_response(request_: str, connection: bytes | None) -> None:
    app = KeepingApp()
    app.keep()
    memory = MemoryConnection(app)
    memory.feed(request_.encode())
    head = memory.take().partition(b"\r\n\r\n")[0]
    found = re.findall(rb"\r\nConnection: ([^\r]*)", head)
    assert found == ([] if connection is None else [connection])
    assert memory.closed is (connection == b"close")
    assert app.asked == 0


@pytest.mark.parametrize(
    "field",
    [
        "Authorization: Basic eA==",
        "Cookie: a=b",
        "cookie:",
        "Range: bytes=0-1",
        "If-None-Match: *",
        "If-Modified-Since: Sat, 21 Nov 2026 00:00:00 GMT",
        "If-Match: *",
        "If-Unmodified-Since: Sat, 21 Nov 2026 00:00:00 GMT",
        'If-Range: "x"',
        "Cache-Control: max-age=0",
        "CACHE-CONTROL: no-cache",
        "Pragma: no-cache",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
    ],
)
def test_who_asks_for_more_than_the_target_is_left_to_the_application(field: str) -> None:
    app = KeepingApp()
    app.keep()
    body = "0\r\n\r\n" if "chunked" in field else "y" if "Length: 1" in field else ""
    assert ask(app, get("/x", field) + body).endswith(FRESH)
    assert app.asked == 1


def test_other_targets_methods_and_forms_are_left_to_the_application() -> None:
    app = KeepingApp()
    app.keep(b"GET /x?a=1")
    for target, method in (
        ("/x", "GET"),
        ("/x?a=2", "GET"),
        ("/x?a=1&", "GET"),
        ("http://a/x?a=1", "GET"),
        ("/x?a=1", "POST"),
        ("/x?a=1", "get"),
        ("/x?a=1", "GETS"),
    ):
        assert ask(app, get(target, method=method)).endswith(FRESH), (target, method)
    assert ask(app, get("/x?a=1")).endswith(KEPT)


def test_a_host_gets_what_was_kept_for_it_and_nothing_else() -> None:
    app = KeepingApp()
    app.keep(body=b"for a")
    app.keep(body=b"for b", host=b"b:8000")
    assert len(app.kept_answers) == 2

    def ask_host(field: str, version: str = "1.1") -> bytes:
        return ask(app, f"GET /x HTTP/{version}\r\n{field}\r\n").rpartition(b"\r\n\r\n")[2]

    fresh = b"from the application"
    assert ask_host("Host: a\r\n") == ask_host("host:  a \r\n") == b"for a"
    assert ask_host("Host: b:8000\r\n") == b"for b"
    for other in ("A", "a:80", "aa", "b", "b:80", "b:8001", ""):
        assert ask_host(f"Host: {other}\r\n") == fresh, other
    assert ask_host("", "1.0") == fresh  # no Host at all
    app.keep(body=b"for none", host=b"")
    assert ask_host("", "1.0") == ask_host("Host:\r\n") == b"for none"


def test_what_was_kept_for_one_scheme_is_not_given_to_the_other() -> None:
    app = KeepingApp()
    app.keep(scheme="https")
    assert ask(app, get("/x")).endswith(FRESH)
    app.keep()
    assert ask(app, get("/x")).endswith(KEPT)


def test_of_one_target_the_eight_latest_are_kept_and_each_can_be_taken_back() -> None:
    app = KeepingApp()
    kept = [app.keep(host=b"h%d" % n, body=b"%d" % n) for n in range(20)]
    assert [one.alive for one in kept if one is not None] == [False] * 12 + [True] * 8
    assert len(app.kept_answers) == 8

    def given() -> list[int]:
        answers = [ask(app, f"GET /x HTTP/1.1\r\nHost: h{n}\r\n\r\n") for n in range(20)]
        return [n for n, out in enumerate(answers) if out.endswith(b"\r\n\r\n%d" % n)]

    assert given() == list(range(12, 20))
    for n in (19, 12, 15):  # the first, the last and one between
        one = kept[n]
        assert one is not None
        one.forget()
        one.forget()
    assert given() == [13, 14, 16, 17, 18]
    again = app.keep(host=b"h16", body=b"16")
    assert again is not None
    assert [one.alive for one in kept if one is not None].count(True) == 4
    assert len(app.kept_answers) == 5
    app.kept_answers.clear(Tally())  # of somebody else
    assert len(app.kept_answers) == 5
    app.kept_answers.clear(app.tally)
    assert (len(app.kept_answers), given()) == (0, [])


def test_a_broken_head_is_refused_though_its_target_is_kept() -> None:
    app = KeepingApp()
    app.keep()
    for request in (
        "GET /x HTTP/1.1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\nx: y\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        assert ask(app, request).startswith(b"HTTP/1.1 400 "), request
    assert (app.asked, app.tally.hits) == (0, 0)


def test_limits_of_the_head_hold() -> None:
    app = KeepingApp(ServerLimits(max_headers=3))
    app.keep()
    assert ask(app, get("/x", "A: 1", "B: 2")).endswith(KEPT)
    assert ask(app, get("/x", "A: 1", "B: 2", "C: 3")).startswith(b"HTTP/1.1 431 ")


def test_it_is_found_however_the_request_is_cut() -> None:
    app = KeepingApp()
    app.keep()
    request = get("/x").encode() * 2
    for cut in range(1, len(request)):
        connection = MemoryConnection(app)
        connection.feed(request[:cut])
        connection.feed(request[cut:])
        assert connection.take().count(KEPT) == 2, cut
    assert app.asked == 0


def test_one_that_is_over_is_forgotten_and_the_application_asked() -> None:
    app = KeepingApp()
    kept = app.keep(seconds=-1.0)
    assert kept is not None
    assert kept.alive
    assert ask(app, get("/x")).endswith(FRESH)
    assert not kept.alive
    assert (len(app.kept_answers), app.asked) == (0, 1)


def test_one_that_is_taken_back_is_not_given_again() -> None:
    app = KeepingApp()
    connection = MemoryConnection(app)

    def answer() -> bytes:
        connection.feed(get("/x").encode())
        return connection.take()

    first = app.keep()
    assert answer().endswith(KEPT)
    assert first is not None
    assert (first.take_hits(), first.take_hits()) == (1, 0)
    first.forget()
    assert answer().endswith(FRESH)
    second = app.keep(body=b"the second")
    assert second is not None
    first.forget()  # again, and the second is none of its business
    assert answer().endswith(b"the second")
    third = app.keep(body=b"the third")
    assert not second.alive
    app.kept_answers.clear(Tally())  # of somebody else
    assert answer().endswith(b"the third")
    app.kept_answers.clear()
    assert answer().endswith(FRESH)
    assert third is not None
    assert not third.alive


@pytest.mark.parametrize(
    "fields",
    [{"Date": "Sat, 21 Nov 2026 00:00:00 GMT"}, {"Connection": "close"}, {"X": "y" * 4096}],
)
def test_what_cannot_be_kept_is_not(fields: dict[str, str]) -> None:
    app = KeepingApp()
    assert app.keep(fields=fields) is None
    assert len(app.kept_answers) == 0


def test_an_answer_that_does_not_end_with_its_age_is_not_kept() -> None:
    app = KeepingApp()
    for change in (
        lambda r: r.headers.add("Later", "x"),
        lambda r: r.headers.pop("Age"),
        lambda r: setattr(r, "status_code", 404),
        lambda r: setattr(r, "stream", [b""]),
    ):
        response = Response(b"x", headers={"Age": "0"})
        change(response)
        kept = app.kept_answers.keep(
            b"GET /x",
            response,
            host=b"a",
            scheme="http",
            stored_at=0.0,
            fresh_until=math.inf,
            tally=app.tally,
        )
        assert kept is None
    assert app.keep(b"POST /x") is None


def test_a_large_body_and_a_slow_reader(serve: ServeFixture) -> None:
    app = KeepingApp()
    body = bytes(range(256)) * 4096
    app.keep(body=body)
    server = serve(app)
    count = 8
    with server.connect(receive_buffer=4096) as client:
        client.send(get("/x") * count)
        for _ in range(count):
            assert client.recv_response().body == body
    assert (app.asked, app.tally.hits) == (0, count)


def test_they_count_as_requests_and_keep_the_connection(serve: ServeFixture) -> None:
    app = KeepingApp()
    app.keep()
    server = serve(app)
    with server.connect() as client:
        for _ in range(5):
            client.send(get("/x"))
            assert client.recv_response().body == b"kept"
        client.send(get("/y"))
        assert client.recv_response().body == b"from the application"
    server.stop()
    assert server.server.requests == 6


def test_a_connection_that_retires_has_one_more_answer(serve: ServeFixture) -> None:
    app = KeepingApp()
    app.keep()
    server = serve(app)
    with server.connect() as client:
        client.send(get("/x"))
        assert client.recv_response().header("connection") is None

        async def retire() -> None:
            server.server.retire()

        server.call(retire())
        client.send(get("/x"))
        assert client.recv_response().header("connection") == "close"
        assert client.recv_until_close() == b""
    assert app.asked == 0


@pytest.mark.parametrize("size", [0, 1, 15_000, 15_360, 16_000, 16_384, 32_768, 100_000])
def test_bodies_of_every_size_are_the_same_as_from_the_application(
    size: int, memory: Callable[..., MemoryConnection]
) -> None:
    app = KeepingApp()
    body = b"z" * size
    app.keep(body=body)
    connection = memory(app)
    connection.feed(get("/x").encode() * 3)
    assert connection.take().count(b"\r\n\r\n" + body) == 3
    assert app.tally.hits == 3
