"""`ember bench` (E94) over a socket, and the parts of it that count."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, Request, Response, StreamingResponse
from ember.cli.bench.figures import Figures, Latencies
from ember.cli.bench.load import Plan
from ember.cli.bench.report import as_json, table
from ember.cli.bench.target import BadTarget, aim
from ember.server.terminal import Style

from tests.support.server import Running, ServeFixture

pytestmark = pytest.mark.once

DEADLINE = 120.0


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ember", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def measured(*arguments: str) -> Any:
    done = bench(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def seen() -> list[tuple[str, str, str | None, bytes]]:
    return []


@pytest.fixture
def server(serve: ServeFixture, seen: list[tuple[str, str, str | None, bytes]]) -> Running:
    app = Ember()

    @app.get("/")
    async def index() -> str:
        return "hello"

    @app.route("/seen", methods=["GET", "POST", "PATCH", "DELETE"])
    async def look(request: Request) -> str:
        seen.append(
            (
                request.method,
                request.query_string,
                request.headers.get("x-a"),
                await request.body(),
            )
        )
        return "seen"

    @app.get("/last")
    async def last() -> Response:
        return Response("bye", headers={"Connection": "close"})

    @app.get("/pieces")
    async def pieces() -> StreamingResponse:
        async def three() -> Any:
            for piece in ("a", "b", "c"):
                yield piece

        return StreamingResponse(three())

    @app.get("/never")
    async def never() -> None:
        await asyncio.Event().wait()

    return serve(app)


def test_so_many_requests_are_sent_and_counted(server: Running) -> None:
    before = server.server.requests
    found = measured(f"{server.url}/", "-n", "300", "-c", "7", "-p", "4")
    assert (found["requests"], found["classes"], found["statuses"]) == (
        300,
        {"2xx": 300},
        {"200": 300},
    )
    assert found["errors"] == {}
    assert server.server.requests - before == 300
    latency = found["latency_ms"]
    order = [latency[name] for name in ("min", "p50", "p90", "p99", "p999", "max")]
    assert order == sorted(order)
    assert latency["min"] > 0
    assert found["requests_per_second"] > 0
    assert found["client"]["same_machine"] is True
    assert (found["connections"], found["pipeline"], found["method"]) == (7, 4, "GET")


def test_a_duration_ends_it_and_the_table_says_what_was_measured(server: Running) -> None:
    done = bench(f"127.0.0.1:{server.port}", "-d", "0.2", "-c", "2")
    assert done.returncode == 0, done.stderr
    assert f"GET http://127.0.0.1:{server.port}/" in done.stdout
    for word in ("a second", "p50", "p90", "p99", "2xx", "errors", "2 connections"):
        assert word in done.stdout
    assert "Client and server shared this machine; this client took" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_method_headers_body_and_query_reach_the_server(
    server: Running, seen: list[tuple[str, str, str | None, bytes]], tmp_path: Path
) -> None:
    url = f"{server.url}/seen"
    assert measured(url, "-n", "1", "-c", "1", "--body", "käse")["method"] == "POST"
    (tmp_path / "body").write_bytes(b"\0\xff")
    measured(f"{url}?a=b c&d=%20", "-n", "1", "-c", "1", "-X", "patch", "-H", "X-A: 1",
             "--body", f"@{tmp_path / 'body'}")  # fmt: skip
    measured(url, "-n", "1", "-c", "1", "-X", "DELETE", "-H", "X-A:")
    assert seen == [
        ("POST", "", None, "käse".encode()),
        ("PATCH", "a=b%20c&d=%20", "1", b"\0\xff"),
        ("DELETE", "", "", b""),
    ]


def test_every_way_to_end_an_answer_is_understood(server: Running) -> None:
    assert measured(f"{server.url}/pieces", "-n", "50", "-c", "3")["statuses"] == {"200": 50}
    assert measured(f"{server.url}/", "-n", "50", "-c", "3", "-X", "HEAD")["requests"] == 50
    assert measured(f"{server.url}/", "-n", "5", "-c", "1", "-X", "OPTIONS")["classes"] == {
        "2xx": 5
    }
    # A server that closes after each answer is connected to again.
    closing = measured(f"{server.url}/last", "-n", "20", "-c", "2", "-p", "3")
    assert (closing["requests"], closing["errors"]) == (20, {})


def test_statuses_are_told_apart(server: Running) -> None:
    found = measured(f"{server.url}/nothing", "-n", "20", "-c", "2")
    assert (found["classes"], found["statuses"]) == ({"4xx": 20}, {"404": 20})


def test_what_takes_too_long_is_an_error(server: Running) -> None:
    done = bench(f"{server.url}/never", "-n", "2", "-c", "2", "--timeout", "0.2")
    assert done.returncode == 1
    assert done.stderr == f"ember: {server.url}/never sent no response: timeout 2\n"
    assert "timeout 2" in done.stdout


def test_nobody_there_is_one_line_and_exit_1(server: Running) -> None:
    port = server.port
    server.stop()
    done = bench(f"http://127.0.0.1:{port}/x", "-d", "0.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ember: http://127.0.0.1:{port}/x cannot be reached: Connection refused; is the server "
        f"running there?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://x/"], '"ftp://x/": expected something like http://127.0.0.1:8000/path'),
        (["http://"], '"http://": expected something like'),
        (["http://x:99999/"], '"http://x:99999/": Port out of range 0-65535; expected'),
        (["http://x/", "-X", "GE T"], '--method "GE T" is not a method name'),
        (["http://x/", "-H", "nocolon"], "--header 'nocolon': expected 'Name: value'"),
        (["http://x/", "-H", "A: b\r\nC: d"], "a value is one line"),
        (["http://x/", "--body", "@/no/such/file"], "--body @/no/such/file: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_1(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ember: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_speaks_something_else_is_reported(
    raw_server: Callable[[bytes], int],
) -> None:
    port = raw_server(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    done = bench(f"http://127.0.0.1:{port}/", "-n", "3", "-c", "1", "--timeout", "5")
    assert done.returncode == 1
    assert "sent no response: malformed 3" in done.stderr


def test_a_server_that_hangs_up_is_reported(raw_server: Callable[[bytes], int]) -> None:
    port = raw_server(b"")
    done = bench(f"http://127.0.0.1:{port}/", "-n", "3", "-c", "1", "--timeout", "5")
    assert done.returncode == 1
    assert "sent no response: closed 3" in done.stderr


@pytest.fixture
def raw_server() -> Any:
    """`raw_server(data) -> port`: answers whatever comes with `data`, and hangs up."""
    import socket
    import threading

    listeners: list[tuple[socket.socket, threading.Thread]] = []

    def start(data: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(data)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        listeners.append((listener, thread))
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener, thread in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_percentiles_are_those_of_what_was_counted() -> None:
    latencies = Latencies()
    for number in range(1, 101):
        latencies.add(number / 1000)
    assert latencies.percentile(0.5) == pytest.approx(0.050, rel=0.002)
    assert latencies.percentile(0.9) == pytest.approx(0.090, rel=0.002)
    assert latencies.percentile(0.99) == pytest.approx(0.099, rel=0.002)
    assert latencies.percentile(1.0) == pytest.approx(0.1, rel=0.002)
    assert (latencies.least, latencies.most) == (0.001, 0.1)
    assert latencies.mean == pytest.approx(0.0505)
    with pytest.raises(ValueError, match="nothing"):
        Latencies().percentile(0.5)


def test_a_million_latencies_take_little_room() -> None:
    latencies = Latencies()
    for number in range(1, 1_000_000, 7):
        latencies.add(number / 1e6)
    assert len(latencies._seen) < 8000


def test_a_target_is_what_was_typed() -> None:
    goal = aim("example.org/a b?c=d#e", None, ["Host: other"], None)
    assert goal.target.request == b"GET /a%20b?c=d HTTP/1.1\r\nHost: other\r\n\r\n"
    assert (goal.target.port, goal.local, goal.target.tls) == (80, False, None)
    goal = aim("http://[::1]:81", "head", [], None)
    assert goal.target.request == b"HEAD / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n"
    assert (goal.target.host, goal.target.bodiless, goal.local) == ("::1", True, True)
    assert aim("https://example.org", None, [], None).target.port == 443
    with pytest.raises(BadTarget, match="Latin-1"):
        aim("http://x", None, ["A: €"], None)


def test_errors_and_a_busy_client_are_said() -> None:
    figures = Figures()
    figures.seconds, figures.bytes = 2.0, 5_000_000
    figures.latencies.add(0.0005)
    figures.latencies.add(1.5)
    figures.statuses.update([200, 503])
    figures.errors.update({"closed": 3})
    client = {"loop": "epoll", "cpu_share": 0.97, "same_machine": False}
    plan = Plan(1, 2.0, None, 1, 10.0)
    found = as_json("http://x/", "GET", plan, figures, client)
    assert found["requests_per_second"] == 1.0
    assert found["classes"] == {"2xx": 1, "5xx": 1}
    with open("/dev/null", "w") as nowhere:
        shown = table(found, Style(nowhere))
    assert "3   closed 3" in shown
    assert "500 µs" in shown
    assert "1.50 s" in shown
    assert "5.0 MB   2.5 MB a second" in shown
    assert "97% of a core: it was the limit, the server may do more" in shown
    assert "Measured over the network" in shown
