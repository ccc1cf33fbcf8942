"""The framing of every kind of answer, as an independent parser reads it: each is followed by
another one on its connection, so that a byte too many or too few is seen there."""

from __future__ import annotations

import asyncio

import h11
import pytest
from ember.protocol import MemoryConnection
from ember.request import Request
from ember.response import Response, StreamingResponse

from tests.support.app import App
from tests.support.server import ServeFixture

pytestmark = pytest.mark.once_per_build

#: What would be taken for an answer, where its bytes follow a head that has none.
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
STATUSES = [200, 201, 202, 203, 204, 205, 206, 226, 299, 300, 304, 307, 400, 404, 412, 416, 426]
STATUSES += [499, 500, 503, 599]
BODIES = {"empty": b"", "content": EVIL, "large": EVIL + b"x" * 40000}
KINDS = ["whole", "list", "stream", "announced"]
METHODS = ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "ODD"]


async def pieces(body: bytes) -> object:
    yield body[:10]
    yield b""
    yield body[10:]


def make(kind: str, status: int, body: bytes) -> Response:
    length = {"Content-Length": str(len(body))}
    if kind == "whole":
        return Response(body, status, content_type="text/plain")
    if kind == "list":
        return StreamingResponse([body], status)
    if kind == "stream":
        return StreamingResponse(pieces(body), status)  # type: ignore[arg-type]
    return StreamingResponse([body], status, length)


class Read:
    """What h11 reads of an answer on a connection that goes on, and whether it does."""

    def __init__(self, data: bytes, method: str, version: str = "1.1") -> None:
        self.client = h11.Connection(h11.CLIENT)
        self.data = data
        self.ask(method, version)

    def ask(self, method: str, version: str) -> None:
        # h11 asks in HTTP/1.1 alone; what differs is told by the answer's own fields.
        self.client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        self.client.send(h11.EndOfMessage())
        self.client.receive_data(self.data)
        self.client.receive_data(b"")

    def answer(self) -> tuple[h11.Response, bytes]:
        head = self.client.next_event()
        assert isinstance(head, h11.Response), head
        body = b""
        while True:
            event = self.client.next_event()
            if isinstance(event, h11.EndOfMessage):
                return head, body
            assert isinstance(event, h11.Data), event
            body += bytes(event.data)

    @property
    def rest(self) -> bytes:
        return self.client.trailing_data[0]


def request(method: str, minor: int, path: str, keep: bool = True) -> bytes:
    field = "" if minor == 1 or not keep else "Connection: keep-alive\r\n"
    return f"{method} {path} HTTP/1.{minor}\r\nHost: x\r\n{field}\r\n".encode()


def has_content(method: str, status: int) -> bool:
    return method != "HEAD" and status not in (204, 205, 304)


@pytest.mark.parametrize("minor", [1, 0], ids=["1.1", "1.0"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
def test_every_answer_ends_where_a_client_looks_for_its_end(
    kind: str, minor: int, waits: bool
) -> None:
    cases = [(m, s, b) for m in METHODS for s in STATUSES for b in BODIES]

    def connection(method: str, status: int, name: str) -> MemoryConnection:
        response = make(kind, status, BODIES[name])

        async def later(request: Request) -> Response:
            await asyncio.sleep(0)
            return response

        def at_once(request: Request) -> Response:
            return response

        app = App({"/": later if waits else at_once, "/next": lambda r: "next"})
        made = MemoryConnection(app)
        made.feed(request(method, minor, "/") + request("GET", minor, "/next"))
        return made

    async def main() -> list[tuple[bytes, bool]]:
        # All at once: they share the turns of the loop.
        connections = [connection(*case) for case in cases]
        data = [b""] * len(cases)
        for _ in range(8):
            for _ in range(5):
                await asyncio.sleep(0)
            for number, one in enumerate(connections):
                data[number] += one.take()
        return [(got, one.closed) for got, one in zip(data, connections, strict=True)]

    for (method, status, name), (data, closed) in zip(cases, asyncio.run(main()), strict=True):
        read = Read(data, method)
        head, body = read.answer()
        context = (method, status, name, data[:300])
        assert head.status_code == status, context
        assert body == (BODIES[name] if has_content(method, status) else b""), context
        fields = {bytes(name).lower(): bytes(value) for name, value in head.headers}
        if status in (204,):
            assert b"content-length" not in fields
            assert b"transfer-encoding" not in fields
        if status == 205:
            assert fields[b"content-length"] == b"0"
            assert b"transfer-encoding" not in fields
        assert minor or b"transfer-encoding" not in fields
        if fields.get(b"connection") == b"close":
            assert closed, context
            assert read.rest == b"", context
        else:
            assert read.rest.startswith(b"HTTP/1.1 200 OK\r\n"), context
            assert read.rest.endswith(b"\r\n\r\nnext"), context
            assert read.rest.count(b"HTTP/1.1") == 1, context


def test_a_reset_content_sends_none_over_a_socket(serve: ServeFixture) -> None:
    running = serve(App({"/": lambda r: Response(EVIL, 205), "/next": lambda r: "next"}))
    with running.connect() as client:
        client.send(request("GET", 1, "/") + request("GET", 1, "/next"))
        assert client.recv_head().header("content-length") == "0"
        assert client.recv_response().body == b"next"


@pytest.mark.parametrize(
    "given", [{"Upgrade": "h2c"}, {"upgrade": "a, b", "Connection": "Upgrade"}]
)
@pytest.mark.parametrize("minor", [1, 0], ids=["1.1", "1.0"])
@pytest.mark.parametrize("close", [False, True], ids=["goes on", "closes"])
def test_an_upgrade_field_is_named_by_connection(
    given: dict[str, str], minor: int, close: bool
) -> None:
    sent = {**given, "Connection": "close"} if close else given
    app = App({"/": lambda r: Response("another protocol", 426, sent), "/next": lambda r: "next"})
    connection = MemoryConnection(app)
    connection.feed(request("GET", minor, "/") + request("GET", minor, "/next"))
    read = Read(connection.take(), "GET")
    head, body = read.answer()
    assert body == b"another protocol"
    fields: dict[bytes, bytes] = {}
    for name, value in head.headers:
        assert name not in fields
        fields[name] = value
    options = {option.strip() for option in fields[b"connection"].split(b",")}
    assert options == {b"upgrade"} | ({b"close"} if close else set() if minor else {b"keep-alive"})
    assert fields[b"upgrade"] == next(iter(given.values())).encode()
    assert connection.closed == close
