"""`/metrics`: what Prometheus reads there, and that the sums are right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from ember import Blueprint, Ember, HTTPError, NotFound, Request, RouteError
from ember.cache import TTLCache
from ember.observability.metrics import render
from ember.protocol.telemetry.series import CONNECTIONS, IN_FLIGHT, Series
from ember.server.workers import Scoreboard, State
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import ServeFixture
from tests.support.waiting import eventually

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: bytes) -> Samples:
    """Every sample of a page, as Prometheus's own client reads it; none twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of a name that have these labels."""
    wanted = set(labels.items())
    return sum(v for (n, has), v in samples.items() if n == name and wanted <= has)


REQUESTS = "ember_http_requests_total"


def make() -> Ember:
    app = Ember(metrics=True)

    @app.get("/items/{id:int}")
    async def item(id: int) -> str:
        if id == 0:
            raise NotFound("no item")
        return f"item {id}"

    @app.post("/items/:name")
    async def post(request: Request, name: str) -> tuple[str, int]:
        return name, 201

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("on purpose")

    return app


def test_requests_are_counted_by_template_method_and_status(serve: ServeFixture) -> None:
    server = serve(make())
    for number in range(10):
        server.get(f"/items/{number}")
    server.request("HEAD", "/items/5")
    server.request("POST", "/items/x", b"{}")
    server.get("/fail")
    for path in ("/nowhere", "/else"):
        server.get(path)
    server.exchange(b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n")
    eventually(lambda: value(parse(server.get("/metrics").body), REQUESTS, route="(refused)"))
    answer = server.get("/metrics")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    samples = parse(answer.body)
    ok = {"route": "/items/{id:int}", "method": "GET", "status": "200"}
    assert value(samples, REQUESTS, **ok) == 9
    assert value(samples, REQUESTS, **{**ok, "status": "404"}) == 1
    assert value(samples, REQUESTS, **{**ok, "method": "HEAD"}) == 1
    assert value(samples, REQUESTS, route="/items/:name", method="POST", status="201") == 1
    assert value(samples, REQUESTS, route="/fail", status="500") == 1
    assert value(samples, REQUESTS, route="(unmatched)", status="404") == 2
    assert value(samples, REQUESTS, route="(refused)", status="400") == 1
    assert value(samples, "ember_http_response_bytes_total", **ok) > 9 * len("item 1")
    count = "ember_http_request_duration_seconds_count"
    assert value(samples, count, route="/items/{id:int}", method="GET") == 10
    bucket = "ember_http_request_duration_seconds_bucket"
    assert value(samples, bucket, le="+Inf") == value(samples, count)
    assert value(samples, "ember_http_request_duration_seconds_sum") > 0
    assert value(samples, "ember_http_connections_accepted_total") >= 15
    assert value(samples, "ember_http_requests_in_flight") == 1, "the scrape itself"
    assert value(samples, "process_resident_memory_bytes") > 1e6


def test_the_buckets_of_a_histogram_grow(serve: ServeFixture) -> None:
    server = serve(make())
    for _ in range(20):
        server.get("/items/1")
    page = parse(server.get("/metrics").body)
    name = "ember_http_request_duration_seconds_bucket"
    buckets = sorted(
        (float(dict(labels)["le"]), v)
        for (n, labels), v in page.items()
        if n == name and ("route", "/items/{id:int}") in labels
    )
    assert [v for _, v in buckets] == sorted(v for _, v in buckets)
    assert buckets[-1] == (float("inf"), 20)


def test_a_page_has_the_duration_of_each_request_that_it_counts(serve: ServeFixture) -> None:
    with serve(make()).connect() as client:
        client.send(
            "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in ("/no", "/metrics"))
        )
        assert client.recv_response().status == 404
        page = parse(client.recv_response().body)
    assert value(page, REQUESTS, route="(unmatched)") == 1
    assert value(page, "ember_http_request_duration_seconds_count", route="(unmatched)") == 1


def test_nothing_is_counted_or_answered_unless_asked_for(serve: ServeFixture) -> None:
    app = Ember()
    assert app.observer is None
    assert serve(app).get("/metrics").status == 404


def test_another_path_and_a_middleware_of_its_own(serve: ServeFixture) -> None:
    app = Ember()

    def guard(request: Request) -> None:
        if request.headers.get("authorization") != "Bearer scrape":
            raise HTTPError(401)

    app.add_metrics("/internal/metrics", middlewares=[guard])
    server = serve(app)
    assert server.get("/metrics").status == 404
    assert server.get("/internal/metrics").status == 401
    answer = server.get("/internal/metrics", {"Authorization": "Bearer scrape"})
    assert value(parse(answer.body), REQUESTS, route="/internal/metrics", status="401") == 1


def test_a_route_of_the_application_on_that_path_wins(serve: ServeFixture) -> None:
    app = Ember(metrics="/stats")

    @app.get("/stats")
    async def mine() -> str:
        return "mine"

    assert serve(app).get("/stats").body == b"mine"


def test_an_invalid_path_is_refused() -> None:
    with pytest.raises(RouteError):
        Ember(metrics="metrics")


def test_a_blueprint_is_counted_under_its_whole_template(serve: ServeFixture) -> None:
    app = Ember(metrics=True)
    blueprint = Blueprint(prefix="/users/{user}")

    @blueprint.get("/posts/{post}")
    async def show(user: str, post: str) -> str:
        return user + post

    app.add_blueprint(blueprint)
    server = serve(app)
    server.get("/users/a/posts/b")
    samples = parse(server.get("/metrics").body)
    assert value(samples, REQUESTS, route="/users/{user}/posts/{post}") == 1


def test_labels_are_escaped() -> None:
    area = memoryview(bytearray(65536))
    series = Series(area)
    odd = 'a"b\\c\nd'
    series.words[series.requests(odd, "GET", 200)] += 3
    assert value(parse(render([area], None)), REQUESTS, route=odd) == 3


def test_the_sums_go_over_all_workers_those_that_are_gone_included() -> None:
    board = Scoreboard(4)
    for slot in board.slots[:5]:
        slot.begin(1)
        slot.state = State.READY
        series = Series(board.metrics_region(slot.index))
        series.words[series.requests("/x", "GET", 200)] += 10
        series.words[series.durations("/x", "GET") + 2] += 10
        at = series.cache("/x", "hit")
        assert at is not None
        series.words[at] += 1
        series.words[IN_FLIGHT] = series.words[CONNECTIONS] = 7  # as one that is killed leaves them
    board.slots[2].end()
    areas = [board.metrics_region(slot.index) for slot in board.slots]
    samples = parse(render(areas, board))
    assert value(samples, REQUESTS, route="/x") == 50
    assert value(samples, "ember_http_request_duration_seconds_count", route="/x") == 50
    assert value(samples, "ember_cache_requests_total", route="/x", outcome="hit") == 5
    assert value(samples, "ember_http_requests_in_flight") == 28
    assert value(samples, "ember_http_connections") == 28
    assert value(samples, "ember_workers") == 4
    assert value(samples, "ember_worker_restarts_total") == 1
    assert value(samples, "ember_worker_info", worker="1", state="ready") == 1
    # What is over counts at once, also before the heartbeat that would say so.
    assert value(samples, "ember_worker_requests_total") == 40
    assert value(samples, "ember_worker_requests_total", worker="1") == 10


def test_a_server_says_who_its_workers_are() -> None:
    import http.client
    import os

    app = make()
    app.run(port=0, block=False, startup_message=False)
    try:
        assert app.server is not None
        host, port = app.server.addresses[0]
        connection = http.client.HTTPConnection(str(host), int(port), timeout=120)
        for path in ("/items/1", "/metrics"):
            connection.request("GET", path)
            body = connection.getresponse().read()
        connection.close()
        samples = parse(body)
    finally:
        app.stop()
    assert value(samples, REQUESTS, route="/items/{id:int}") == 1
    assert value(samples, "ember_workers") == 1
    assert value(samples, "ember_worker_restarts_total") == 0
    assert value(samples, "ember_worker_info", worker="0", pid=str(os.getpid())) == 1
    assert value(samples, "ember_worker_resident_memory_bytes", worker="0") > 1e6
    assert value(samples, "process_open_fds") > 3
    assert value(samples, "process_start_time_seconds") > 1.7e9


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter("orders", "Orders of the test.")
    yield counter
    from prometheus_client import REGISTRY

    REGISTRY.unregister(counter)


def test_what_the_application_counts_itself_is_on_the_page(
    serve: ServeFixture, counter: Counter
) -> None:
    counter.inc(3)
    samples = parse(serve(make()).get("/metrics").body)
    assert value(samples, "orders_total") == 3
    assert value(samples, "process_resident_memory_bytes") > 1e6


def test_prometheus_client_is_not_needed(
    serve: ServeFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    body = serve(make()).get("/metrics").body
    assert b"python_info" not in body
    assert b"\nember_http_requests_in_flight 1\n" in body
    assert "prometheus_client" not in sys.modules


def test_metrics_of_a_wrong_type_are_refused() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match="metrics=3: expected True or a path"):
        Ember(metrics=wrong)


def test_hits_and_misses_of_a_cache_and_the_requests_that_it_answered(
    serve: ServeFixture,
) -> None:
    app = Ember(metrics=True)
    calls: list[int] = []

    @app.get("/cached/{name}", cache=TTLCache(ttl=600))
    async def cached(name: str) -> str:
        calls.append(1)
        return name

    server = serve(app)
    for _ in range(10):
        assert server.get("/cached/a").body == b"a"
    samples = parse(server.get("/metrics").body)
    assert len(calls) == 1
    assert value(samples, REQUESTS, route="/cached/{name}", status="200") == 10
    assert value(samples, "ember_cache_requests_total", route="/cached/{name}", outcome="hit") == 9
    assert value(samples, "ember_cache_requests_total", route="/cached/{name}", outcome="miss") == 1
