"""The access log: one line for each request, JSON whatever the client sends."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, HTTPError, Request, StartError
from ember.observability.access_log import colored
from ember.protocol import MemoryConnection
from ember.protocol.telemetry.logfile import LogFile
from ember.protocol.telemetry.observer import AccessLog, Recorder

from tests.support.server import ServeFixture
from tests.support.waiting import eventually

KEYS = [
    "time",
    "id",
    "method",
    "route",
    "path",
    "status",
    "bytes",
    "duration",
    "client",
    "worker",
]


def make(path: Path, **options: Any) -> Ember:
    app = Ember(access_log=path, **options)

    @app.get("/items/{id}")
    async def item(id: str) -> str:
        if id == "0":
            raise HTTPError(404)
        return "item"

    @app.get("/id")
    async def identity(request: Request) -> str:
        return request.id

    return app


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_one_line_for_each_request(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "log"
    server = serve(make(path))
    with server.connect() as client:
        for target in ("/items/a%20b?secret=1", "/items/0", "/no"):
            client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv_response()
        address = "{}:{}".format(*client.sock.getsockname())
    eventually(lambda: len(lines(path)) == 3)
    first, second, third = lines(path)
    assert list(first) == KEYS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["time"])
    assert re.fullmatch(r"[0-9a-f]{16}", first["id"])
    assert first["id"] != second["id"]
    wanted = {"method": "GET", "client": address, "worker": 0, "status": 200}
    assert first | wanted == first
    assert (first["route"], first["path"]) == ("/items/{id}", "/items/a%20b")
    assert first["bytes"] > 50
    assert first["duration"] >= 0
    assert (second["route"], second["status"]) == ("/items/{id}", 404)
    assert (third["route"], third["path"], third["status"]) == (None, "/no", 404)
    assert "secret" not in path.read_text()


def test_the_id_is_that_of_the_request(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "log"
    body = serve(make(path)).get("/id").body
    eventually(lambda: lines(path))
    assert lines(path)[0]["id"] == body.decode()


def test_behind_a_proxy_the_client_is_what_it_reports(serve: ServeFixture, tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = make(path, trusted_proxies=["127.0.0.1"])
    app._observability.start()
    server = serve(app)
    server.get("/id", {"X-Forwarded-For": "203.0.113.9"})
    server.get("/id", {"X-Forwarded-For": '"evil\\'})
    eventually(lambda: len(lines(path)) == 2)
    assert lines(path)[0]["client"] == "203.0.113.9"
    server.stop()
    app._observability.stop()


@pytest.mark.parametrize("seed", range(8))
def test_every_line_is_json_whatever_the_client_sends(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    dice = random.Random(seed)
    app = make(path)

    @app.get("/echo/{x}")
    async def echo(request: Request) -> str:
        request.id = "".join(chr(dice.choice([34, 92, 10, 0, 127, 255, 8232, 65])) for _ in "1234")
        return "x"

    sent = 0
    for _ in range(150):
        connection = MemoryConnection(app)
        target = bytes(
            dice.choice([dice.randrange(256), dice.randrange(33, 127), ord("%"), ord('"')])
            for _ in range(dice.choice([0, 1, 5, 40, 8000]))
        )
        method = dice.choice([b"GET", b"POST", b'G"T', b"\xff", b"M-SEARCH", b"OPTIONS"])
        start = dice.choice([b"/echo/", b"/", b"*", b"http://a/", b""])
        connection.feed(method + b" " + start + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.eof()
        sent += connection.take().count(b"HTTP/1.1 ")
        connection.lost()
    app._observability.stop()
    found = lines(path)
    assert len(found) == sent > 50
    assert path.read_bytes().isascii()
    assert b"\x7f" not in path.read_bytes()
    assert all(set(KEYS) <= set(line) <= {*KEYS, "aborted"} for line in found)


def test_many_more_lines_than_the_buffer_holds_all_arrive(tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = make(path)
    log = app.observer.log  # type: ignore[union-attr]
    connection = MemoryConnection(app)
    request = b"GET /items/x HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    for _ in range(30):
        connection.feed(request)
        connection.take()
    app._observability.stop()
    assert len(lines(path)) == 3000
    assert log is not None
    assert len({line["id"] for line in lines(path)}) == 3000


def test_lines_of_one_turn_of_the_loop_are_whole_and_have_a_duration(
    serve: ServeFixture, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    server = serve(make(path))
    count = 700
    with server.connect() as client:
        client.send("GET /items/x HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        for _ in range(count):
            client.recv_response()
    eventually(lambda: len(path.read_bytes().splitlines()) == count)
    found = lines(path)
    assert all(0 <= line["duration"] < 60 for line in found)
    assert any(line["duration"] > 0 for line in found)


def test_a_reader_that_stands_still_costs_lines_and_no_request(serve: ServeFixture) -> None:
    reading, writing = os.pipe()
    file = LogFile(writing)
    app = Ember(metrics=True)

    @app.get("/")
    async def index() -> str:
        return "x"

    before = app.observer
    assert before is not None
    app.observer = Recorder(before.series, AccessLog(file, 0))
    server = serve(app)
    batch = 500
    with server.connect() as client:
        while not file.dropped:
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n" * batch)
            for _ in range(batch):
                assert client.recv_response().status == 200
    page = server.get("/metrics").body.decode()
    (dropped,) = re.findall(r"^ember_access_log_dropped_total (\d+)$", page, re.MULTILINE)
    assert int(dropped) > 0
    server.stop()
    file.close()
    os.close(reading)
    os.close(writing)


def run(app: Ember) -> int:
    app.run(port=0, block=False, startup_message=False)
    assert app.server is not None
    return int(app.server.addresses[0][1])


def fetch(port: int, path: str) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def test_after_a_rotation_the_lines_go_to_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = make(path)
    port = run(app)
    try:
        fetch(port, "/items/1")
        eventually(lambda: lines(path))
        path.rename(tmp_path / "old")
        assert app.server is not None
        loop = app.server._loop
        assert loop is not None
        loop.call_soon_threadsafe(app.reopen_logs)
        eventually(path.exists)
        fetch(port, "/items/2")
        eventually(lambda: lines(path))
    finally:
        app.stop()
    assert [line["path"] for line in lines(tmp_path / "old")] == ["/items/1"]
    assert [line["path"] for line in lines(path)] == ["/items/2"]


def test_a_stop_writes_what_is_left_and_the_application_can_be_served_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    app = make(path)
    for _ in range(2):
        port = run(app)
        fetch(port, "/items/1")
        fetch(port, "/items/2")
        app.stop()
    assert [line["path"] for line in lines(path)] == ["/items/1", "/items/2"] * 2


def test_a_path_that_cannot_be_opened_is_one_line_at_start(tmp_path: Path) -> None:
    app = make(tmp_path / "none" / "log")
    with pytest.raises(StartError, match=r"access log .*none/log: No such file or directory; give"):
        run(app)
    assert app.server is None


@pytest.mark.parametrize("wrong", [3, "", b"x"])
def test_a_log_of_a_wrong_type_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match='expected True, "json", "color" or a path'):
        Ember(access_log=wrong)


def test_false_and_none_mean_none() -> None:
    assert Ember(access_log=False).observer is None
    assert Ember(access_log=None).observer is None


LINE = {
    "time": "2026-11-21T13:21:13.123456Z",
    "id": "1",
    "method": "GET",
    "route": None,
    "path": "/x\x1b[31m",
    "status": 404,
    "bytes": 123,
    "duration": 0.0012,
    "client": "127.0.0.1:5",
    "worker": 0,
}


def test_a_line_for_people() -> None:
    data = (json.dumps(LINE) + "\n").encode()
    assert colored(False)(data).decode() == (
        "13:21:13.123 404 GET     /x\\x1b[31m  1.2 ms  123 B  127.0.0.1:5\n"
    )
    painted = colored(True)((json.dumps({**LINE, "aborted": True}) + "\n").encode()).decode()
    assert "broken off" in painted
    assert "\x1b[31m /x" not in painted
