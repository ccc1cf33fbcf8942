"""`ember top` over a socket, and how it counts."""

from __future__ import annotations

import asyncio
import json
import math
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ember import Ember, Request
from ember.cache import TTLCache
from ember.cli import main
from ember.cli.top.figures import difference, quantile
from ember.cli.top.report import tables
from ember.cli.top.scrape import Scrape, Source
from ember.server.terminal import Style

from tests.support.server import Running, ServeFixture
from tests.support.waiting import DEADLINE

INTERVAL = "0.1"


def top(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["top", *arguments])


async def ask(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def make(served: list[Running], path: str = "/metrics") -> Ember:
    """An application that is asked three things between the first look and the second."""
    app = Ember()
    looks: list[None] = []

    async def between(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        looks.append(None)
        if len(looks) == 2:
            for asked in ("/items/1", "/items/2", "/fail", "/cached", "/cached"):
                await ask(served[0].port, asked)
        return await call_next(request)

    app.add_metrics(path, middlewares=[between])

    @app.get("/items/{id:int}")
    async def item(id: int) -> str:
        return str(id)

    @app.get("/fail")
    async def fail() -> tuple[str, int]:
        return "no", 503

    @app.get("/cached", cache=TTLCache(ttl=60))
    async def cached() -> str:
        return "kept"

    return app


def start(serve: ServeFixture, path: str = "/metrics") -> Running:
    served: list[Running] = []
    served.append(serve(make(served, path)))
    return served[0]


def test_what_happened_between_two_looks_is_told(serve: ServeFixture) -> None:
    server = start(serve)
    server.get("/items/7")  # before: does not count
    done = top(server.url, "--once", "--json", "--interval", INTERVAL)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["url"] == f"{server.url}/metrics"
    times = found["seconds"]
    routes = {(r["method"], r["route"]): r for r in found["routes"]}

    def counted(route: str, field: str = "requests_per_second") -> int:
        return round(routes["GET", route][field] * times)

    assert times >= float(INTERVAL)
    assert counted("/items/{id:int}") == 2
    assert counted("/fail") == counted("/fail", "errors_per_second") == 1
    assert counted("/cached") == 2
    assert found["cache_hit_rate"] == 0.5
    assert found["in_flight"] >= 1  # the look itself
    assert found["connections"] >= 1
    assert all(0 < r["p50_ms"] <= r["p99_ms"] for r in routes.values())
    slowest = [r["p99_ms"] for r in found["routes"]]
    assert slowest == sorted(slowest, reverse=True)


def test_the_table_is_plain_text_where_no_terminal_is(serve: ServeFixture) -> None:
    server = start(serve)
    done = top(f"{server.url}/metrics", "--once", "--interval", INTERVAL)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert re.search(r"METHOD +REQ/S +ERR/S +P50 +P99 +ROUTE", done.output)
    assert re.search(r"^GET +[\d.]+ +- .+ /items/\{id:int\}$", done.output, re.MULTILINE)
    assert "cache hits 50.0%" in done.output
    assert "in flight" in done.output


def test_another_path_is_asked_where_the_url_has_one(serve: ServeFixture) -> None:
    server = start(serve, "/internal/metrics")
    assert top(f"{server.url}/internal/metrics", "--once", "--interval", INTERVAL).exit_code == 0


def failed(url: str) -> str:
    done = top(url, "--once", "--interval", INTERVAL)
    assert done.exit_code == 1
    assert done.output.startswith("ember: ")
    assert done.output.count("\n") == 1
    return done.output


def test_where_no_metrics_are_it_says_how_to_switch_them_on(serve: ServeFixture) -> None:
    said = failed(serve(Ember()).url)
    assert "no metrics there (404)" in said
    assert "Ember(metrics=True)" in said
    assert "ember start --metrics" in said


def test_where_nobody_listens_is_one_line() -> None:
    with socket.socket() as taken:  # bound, so that nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = failed(url)
    assert f"{url}/metrics cannot be reached: Connection refused" in said


def test_a_page_of_something_else_is_one_line(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/metrics")
    async def other() -> str:
        return "go_goroutines 7\n"

    @app.get("/broken")
    async def broken() -> str:
        return "ember_http_requests_total{ nonsense\n"

    @app.get("/secret")
    async def secret() -> tuple[str, int]:
        return "who are you?", 401

    server = serve(app)
    assert "without metrics of Ember" in failed(server.url)
    assert "no line of metrics" in failed(f"{server.url}/broken")
    assert "answered 401" in failed(f"{server.url}/secret")


@pytest.mark.parametrize(
    "line",
    [
        "ember_http_connections nan",
        "ember_http_connections +Inf",
        "ember_http_connections 1e300",
        'ember_http_request_duration_seconds_bucket{le="x"} 1',
        'ember_http_request_duration_seconds_bucket{le="nan"} 1',
    ],
)
def test_a_number_that_nothing_can_be_computed_with_is_one_line(
    line: str, serve: ServeFixture
) -> None:
    app = Ember()

    @app.get("/metrics")
    async def metrics() -> str:
        return f"ember_http_requests_in_flight 1\n{line}\n"

    assert f"no line of metrics: {line!r}" in failed(serve(app).url)


def test_a_label_gives_the_terminal_no_orders() -> None:
    orders = "\x1b[2J"
    page = BASE + requests(9, route=f"/{orders}").replace("GET", orders)
    page += worker(7, 1, 1.0, 0.5).replace("ready", orders).replace('worker="0"', 'worker="\x07"')
    said = tables(difference(Scrape(BASE, 0.0), Scrape(page, 1.0)), "x", Style(sys.stdout))
    assert all(c.isprintable() or c == "\n" for c in said)
    assert "?[2J" in said


def test_a_label_may_have_what_looks_like_the_end_of_a_line() -> None:
    assert list(Scrape('ember_x{route="/a\u2028b"} 1\n', 0.0).all("ember_x")) == [
        ({"route": "/a\u2028b"}, 1)
    ]


def test_a_pid_that_is_no_number_is_not_shown() -> None:
    page = BASE + "".join(
        worker(7, 1, 1.0, 0.5).replace('"7"', f'"{pid}"').replace('"0"', f'"{n}"')
        for n, pid in (("1", "9" * 5000), ("9" * 5000, "²"), ("٣", ""))
    )
    figures = difference(Scrape(BASE, 0.0), Scrape(page, 1.0))
    assert [w.pid for w in figures.workers] == [None] * 3
    assert figures.document("x")["workers"][0]["worker"] == 1


@pytest.mark.parametrize("url", ["ftp://x/metrics", "http://", "http://x:port/", "http://x/ä"])
def test_what_is_no_url_is_one_line(url: str) -> None:
    assert f'"{url}": ' in failed(url)


def test_a_url_without_a_path_means_metrics() -> None:
    assert Source("127.0.0.1:9000").url == "http://127.0.0.1:9000/metrics"
    assert Source("https://me:secret@x/").url == "https://x/metrics"
    assert Source("http://x/m?a=b").url == "http://x/m?a=b"


# -- counting -------------------------------------------------------------------------------------


def test_a_quantile_is_taken_within_its_bucket() -> None:
    below = {0.1: 50.0, 0.2: 100.0, math.inf: 100.0}
    assert quantile(0.5, below) == pytest.approx(0.1)
    assert quantile(0.75, below) == pytest.approx(0.15)
    assert quantile(0.25, below) == pytest.approx(0.05)
    assert quantile(0.99, {0.1: 98.0, math.inf: 100.0}) == math.inf
    assert quantile(0.5, {0.1: 0.0, math.inf: 0.0}) is None
    assert quantile(0.5, {}) is None


BASE = "ember_http_requests_in_flight 3\nember_http_connections 4\n"


def requests(count: int, *, route: str = "/a", slow: int = 0) -> str:
    labels = f'route="{route}",method="GET"'
    name = "ember_http_request_duration_seconds_bucket"
    return (
        f'ember_http_requests_total{{{labels},status="200"}} {count}\n'
        f'{name}{{{labels},le="0.1"}} {count - slow}\n{name}{{{labels},le="+Inf"}} {count}\n'
    )


def worker(pid: int, count: int, cpu: float, age: float) -> str:
    return (
        f'ember_worker_info{{worker="0",pid="{pid}",state="ready"}} 1\n'
        f'ember_worker_requests_total{{worker="0"}} {count}\n'
        f'ember_worker_cpu_seconds_total{{worker="0"}} {cpu}\n'
        f'ember_worker_heartbeat_age_seconds{{worker="0"}} {age}\n'
    )


def test_a_counter_that_went_down_was_reset() -> None:
    figures = difference(Scrape(BASE + requests(1000), 10.0), Scrape(BASE + requests(40), 12.0))
    assert figures.rate == 20
    assert (figures.in_flight, figures.connections) == (3, 4)


def test_routes_without_a_request_are_left_out_and_the_slowest_is_first() -> None:
    before = BASE + requests(5, route="/idle") + requests(5, route="/slow")
    after = before.replace(requests(5, route="/slow"), requests(9, route="/slow", slow=4))
    after += requests(100, route="/fast")
    figures = difference(Scrape(before, 0.0), Scrape(after, 1.0))
    assert [route.route for route in figures.routes] == ["/slow", "/fast"]
    assert figures.routes[0].p99 == math.inf
    found = figures.document("http://x/metrics")
    assert found["routes"][0]["p99_ms"] is None
    assert found["largest_bound_ms"] == 100
    assert "> 100.0 ms" in tables(figures, "http://x/metrics", Style(sys.stdout))


def test_the_rate_of_a_worker_is_that_between_the_looks() -> None:
    before = Scrape(BASE + worker(7, 100, 5.0, 0.5), 10.0)
    figures = difference(before, Scrape(BASE + worker(7, 300, 6.0, 1.5), 12.0))
    (found,) = figures.workers
    assert (found.pid, found.state) == (7, "ready")
    assert (found.rate, found.cpu) == (100, 0.5)
    figures = difference(before, Scrape(BASE + worker(7, 100, 6.0, 0.9), 10.4))
    assert figures.workers[0].rate == 0
    figures = difference(Scrape(BASE, 0.0), Scrape(BASE + worker(7, 10, 6.0, 0.9), 5.0))
    assert figures.workers[0].rate is None, "it was not there before"


def test_of_a_worker_that_is_new_the_cpu_time_is_not_known() -> None:
    before, after = BASE + worker(7, 100, 5.0, 0.5), BASE + worker(8, 110, 9.0, 0.5)
    (found,) = difference(Scrape(before, 10.0), Scrape(after, 11.0)).workers
    assert found.cpu is None
    assert found.rate == 10
    said = tables(difference(Scrape(BASE, 0.0), Scrape(after, 1.0)), "x", Style(sys.stdout))
    assert re.search(r"^ +0 +8 +ready +- +- +- +- +- +0.5 s ago$", said, re.MULTILINE)


def test_labels_are_read_as_they_were_written() -> None:
    text = 'ember_x{route="/a\\"b\\\\c\\nd} e",method="GET"} 1.5e3\nember_y 2\n# HELP ember_z x\n'
    scrape = Scrape(text, 0.0)
    assert list(scrape.all("ember_x")) == [({"route": '/a"b\\c\nd} e', "method": "GET"}, 1500.0)]
    assert scrape.one("ember_y") == 2
    assert scrape.one("ember_z") is None


def test_the_table_is_no_higher_than_the_terminal() -> None:
    after = "".join(requests(9, route=f"/{n:03}") for n in range(100))
    after += "".join(
        worker(n, 1, 1.0, 0.5).replace('worker="0"', f'worker="{n}"') for n in range(40)
    )
    figures = difference(Scrape(BASE, 0.0), Scrape(BASE + after, 1.0))
    for height in (24, 50, 80):
        said = tables(figures, "x", Style(sys.stdout), height=height).splitlines()
        assert len(said) <= height
        assert any(re.fullmatch(r"and \d+ more routes", line) for line in said)
        assert any(re.fullmatch(r"and \d+ more workers", line) for line in said)
    assert len(tables(figures, "x", Style(sys.stdout)).splitlines()) > 140


# -- on a terminal, with a server of several workers ----------------------------------------------


def read_until(terminal: int, pattern: str, text: str = "") -> str:
    end = time.monotonic() + 3 * DEADLINE
    while not re.search(pattern, text, re.DOTALL):
        assert select.select([terminal], [], [], max(end - time.monotonic(), 0))[0], text
        text += os.read(terminal, 65536).decode()
    return text


def test_a_terminal_is_drawn_again_until_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from ember import Ember\napp = Ember()\n")
    command = [sys.executable, "-m", "ember"]
    started = [*command, "start", "--port", "0", "--metrics", "--workers", "2"]
    server = subprocess.Popen(started, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    ours, theirs = pty.openpty()
    try:
        assert server.stderr is not None
        port = ""
        for line in server.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                port = found[1]
                break
        watch = subprocess.Popen(
            [*command, "top", f"127.0.0.1:{port}", "--interval", INTERVAL],
            stdout=theirs,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TERM": "xterm"},
        )
        try:
            drawn = read_until(ours, r"(\x1b\[H.*){3}")
            assert re.search(r"0 +\d+ +(starting|ready) .*\n +1 +\d+ +(starting|ready) ", drawn)
            assert "/metrics" in drawn
            assert drawn.count("\x1b[J") >= 2
            watch.send_signal(signal.SIGINT)
            assert watch.wait(DEADLINE) == 0
        finally:
            watch.kill()
            watch.wait()
        assert read_until(ours, r"\x1b\[\?7h$", drawn[-1:])
    finally:
        server.terminate()
        assert server.stderr is not None
        server.stderr.read()
        server.stderr.close()
        server.wait()
        os.close(ours)
        os.close(theirs)
