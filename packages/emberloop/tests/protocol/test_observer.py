"""The observer: told once of every exchange, whatever became of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol import MemoryConnection
from ember.protocol.telemetry.observer import Observer, Recorder, Series
from ember.protocol.telemetry.series import DURATIONS, REQUESTS, read, read_header
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.waiting import eventually

GET = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"


class Seen(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def finished(
        self,
        request: Request | None,
        client: tuple[str, int] | None,
        status: int,
        sent: int,
        began: float,
        ended: float,
        aborted: bool,
    ) -> None:
        assert 0 < began <= ended
        path = None if request is None else request.raw_path
        self.told.append((path, status, sent, aborted, client))

    @property
    def brief(self) -> list[tuple[Any, ...]]:
        return [(path, status, aborted) for path, status, _, aborted, _ in self.told]


class Watched(App):
    def __init__(self, *args: Any, observer: Observer | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.observer = observer or Seen()


def seen(app: Watched) -> Seen:
    assert isinstance(app.observer, Seen)
    return app.observer


def test_every_pipelined_exchange_is_told_with_the_bytes_of_its_answer(
    serve: ServeFixture,
) -> None:
    app = Watched({"/a": lambda _: "a", "/b": lambda _: {"b": 1}})
    server = serve(app)
    with server.connect() as client:
        client.send(GET.format("/a") + GET.format("/b") + GET.format("/none"))
        sizes = []
        for _ in range(3):
            head = client.recv_until(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            client.recv_exactly(length)
            sizes.append(len(head) + length)
        address = client.sock.getsockname()[:2]
    eventually(lambda: len(seen(app).told) == 3)
    assert seen(app).told == [
        (b"/a", 200, sizes[0], False, address),
        (b"/b", 200, sizes[1], False, address),
        (b"/none", 404, sizes[2], False, address),
    ]


def test_a_stream_is_told_when_it_ends(serve: ServeFixture) -> None:
    gate = threading.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        while not gate.is_set():
            await asyncio.sleep(0.001)
        yield b"second"

    app = Watched({"/": lambda _: StreamingResponse(pieces())})
    server = serve(app)
    with server.connect() as client:
        client.send(GET.format("/"))
        client.recv_head()
        assert client.recv_chunk() == b"first"
        assert seen(app).told == []
        gate.set()
        assert (client.recv_chunk(), client.recv_chunk()) == (b"second", b"")
    eventually(lambda: seen(app).told)
    assert seen(app).brief == [(b"/", 200, False)]


def test_a_client_that_leaves_a_stream_aborts_it(serve: ServeFixture) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.001)

    app = Watched({"/": lambda _: StreamingResponse(endless())})
    server = serve(app)
    client = server.connect()
    client.send(GET.format("/"))
    client.recv_head()
    client.reset()
    eventually(lambda: seen(app).told)
    assert seen(app).brief == [(b"/", 200, True)]


def test_a_client_that_leaves_before_there_is_an_answer_is_499(serve: ServeFixture) -> None:
    began = threading.Event()

    async def wait(request: Request) -> str:
        began.set()
        await asyncio.Event().wait()
        return "never"

    app = Watched({"/": wait})
    server = serve(app)
    client = server.connect()
    client.send(GET.format("/"))
    assert began.wait(10)
    client.reset()
    eventually(lambda: seen(app).told)
    assert seen(app).brief == [(b"/", 499, True)]


def test_a_handler_that_finishes_for_a_client_that_left_is_told_once(serve: ServeFixture) -> None:
    began, gate, ended = threading.Event(), threading.Event(), threading.Event()

    async def finish(request: Request) -> str:
        began.set()
        while not gate.is_set():
            await asyncio.sleep(0.001)
        ended.set()
        return "nobody hears it"

    limits = {"/": RouteLimits(cancel_on_disconnect=False)}
    app = Watched({"/": finish, "/x": lambda _: "x"}, route_limits=limits)
    server = serve(app)
    client = server.connect()
    client.send(GET.format("/"))
    assert began.wait(10)
    client.reset()
    eventually(lambda: seen(app).told)
    gate.set()
    assert ended.wait(10)
    server.get("/x")
    eventually(lambda: len(seen(app).told) == 2)
    assert seen(app).brief == [(b"/", 499, True), (b"/x", 200, False)]


def test_an_answer_that_breaks_in_the_middle_is_aborted(serve: ServeFixture) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("on purpose")

    app = Watched({"/": lambda _: StreamingResponse(breaks())})
    server = serve(app)
    with server.connect() as client:
        client.send(GET.format("/"))
        client.recv_until_close()
    eventually(lambda: seen(app).told)
    assert seen(app).brief == [(b"/", 200, True)]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n", (None, 400, False)),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (None, 414, False)),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
            (b"/", 413, False),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            (b"/", 400, False),
        ),
    ],
)
def test_what_is_refused_is_told_too(data: bytes, told: tuple[Any, ...]) -> None:
    async def take(request: Request) -> str:
        await request.body()
        return "x"

    async def main() -> None:
        app = Watched({"/": take})
        connection = MemoryConnection(app)
        connection.feed(data)
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen(app).brief == [told]
        assert len(connection.take()) == seen(app).told[0][2]
        connection.lost()
        assert seen(app).brief == [told]

    asyncio.run(main())


def test_a_handler_out_of_time_is_503(serve: ServeFixture) -> None:
    async def late(request: Request) -> str:
        await asyncio.Event().wait()
        return "never"

    app = Watched({"/": late}, limits=ServerLimits(request_timeout=0.05))
    server = serve(app)
    assert server.get("/").status == 503 or seen(app).told
    eventually(lambda: seen(app).told)
    assert [told[0] for told in seen(app).told] == [b"/"]


def test_an_observer_that_fails_is_logged_and_costs_no_answer(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Observer):
        def finished(self, *args: Any) -> None:
            raise RuntimeError("on purpose")

    server = serve(Watched({"/": lambda _: "x"}, observer=Broken()))
    assert [server.get("/").body for _ in range(2)] == [b"x", b"x"]
    eventually(lambda: "the observer failed" in caplog.text)


def test_the_recorder_counts_requests_bytes_durations_and_connections(
    serve: ServeFixture,
) -> None:
    series = Series(memoryview(bytearray(65536)))
    inside = threading.Event()
    gate = threading.Event()

    async def wait(request: Request) -> str:
        inside.set()
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return "x"

    app = Watched({"/": lambda _: "x", "/wait": wait}, observer=Recorder(series))
    server = serve(app)
    with server.connect() as client:
        client.send(GET.format("/"))
        client.recv_response()
        client.send(GET.format("/wait"))
        assert inside.wait(10)
        assert read_header(series.area) == (1, 1, 1, 0)
        gate.set()
        client.recv_response()
        eventually(lambda: read_header(series.area)[0] == 0)
    eventually(lambda: read_header(series.area)[1] == 0)
    records = read(series.area)
    (requests,) = [r for r in records if r.kind == REQUESTS]
    (durations,) = [r for r in records if r.kind == DURATIONS]
    assert requests.label == ("(unmatched)", "GET", "200")
    assert durations.label == ("(unmatched)", "GET")
    assert requests.values[0] == sum(durations.values[2:]) == 2
    assert requests.values[1] > 0
    assert durations.values[0] > 0
    assert read_header(series.area) == (0, 0, 1, 0)


def test_methods_that_clients_invent_are_counted_together() -> None:
    series = Series(memoryview(bytearray(65536)))
    app = Watched({"/": lambda _: "x"}, observer=Recorder(series))
    connection = MemoryConnection(app)
    for method in ("GET", "FOO", "BAR", "PATCH", "OPTIONS"):
        connection.feed(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    counted = {r.label[1]: r.values[0] for r in read(series.area) if r.kind == REQUESTS}
    assert counted == {"GET": 1, "_OTHER": 2, "PATCH": 1, "OPTIONS": 1}
