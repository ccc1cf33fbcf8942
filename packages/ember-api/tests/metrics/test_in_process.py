"""What goes through the test client is counted and logged as if it had come over a socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ember import Ember, NotFound, Request
from ember.cache import TTLCache
from ember.testing import TestClient

from tests.support.server import ServeFixture, new_event_loop
from tests.support.waiting import eventually

#: Method, path, and the body that is sent.
ASKED = [
    ("GET", "/items/1", None),
    ("GET", "/items/1?secret=1", None),
    ("HEAD", "/items/1", None),
    ("GET", "/items/0", None),
    ("GET", "/nowhere", None),
    ("POST", "/items", b"{}"),
    ("GET", "/fail", None),
    ("GET", "/stream", None),
    ("GET", "/kept", None),
    ("GET", "/kept", None),
    ("DELETE", "/kept", None),
]


def make(path: Path) -> Ember:
    app = Ember(metrics=True, access_log=path)

    @app.get("/items/{id:int}")
    async def item(id: int) -> str:
        if id == 0:
            raise NotFound("no item")
        return f"item {id}"

    @app.post("/items")
    async def post(request: Request) -> tuple[str, int]:
        return (await request.text()), 201

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("on purpose")

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for _ in range(3):
            yield "chunk"
            await asyncio.sleep(0)

    @app.get("/endless")
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "chunk"
            await asyncio.sleep(0)

    @app.get("/kept", cache=TTLCache(ttl=60))
    async def kept() -> str:
        return "kept"

    return app


def run(app: Ember, scenario: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(120), app.test_client(raise_exceptions=False) as client:
            await scenario(client)

    loop = new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def counted(page: str) -> list[str]:
    """The samples that say how much of what there was."""
    kinds = (
        "requests_total|response_bytes_total|duration_seconds_count|aborted_total|cache_requests"
    )
    page = re.sub(r'.*route="/metrics".*\n', "", page)
    return re.findall(rf"^ember_(?:http|cache)_.*(?:{kinds}).*", page, re.MULTILINE)


def facts(entry: dict[str, Any]) -> dict[str, Any]:
    """What is the same however often it is asked."""
    assert re.fullmatch(r"[0-9a-f]{16}", entry["id"])
    assert 0 <= entry["duration"] < 5
    return {key: entry[key] for key in ("method", "route", "path", "status", "bytes", "worker")}


def test_numbers_and_lines_are_those_of_a_socket(serve: ServeFixture, tmp_path: Path) -> None:
    server = serve(make(tmp_path / "socket"))
    with server.connect() as client:
        for method, path, body in ASKED:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n"
            client.send(head.encode() + (body or b""))
            client.recv_response(method)
    eventually(lambda: len(lines(tmp_path / "socket")) == len(ASKED))
    over_a_socket = counted(server.get("/metrics").body.decode())
    assert len(over_a_socket) > 2 * len(ASKED)

    async def scenario(client: TestClient) -> None:
        for count, (method, path, body) in enumerate(ASKED, start=1):
            await client.request(method, path, content=body)
            assert len(lines(tmp_path / "log")) == count, "written when the answer was read"
        page = (await client.get("/metrics")).text
        assert counted(page) == over_a_socket
        assert "\nember_http_requests_in_flight 1\n" in page, "the scrape itself"

    run(make(tmp_path / "log"), scenario)
    found = lines(tmp_path / "log")[: len(ASKED)]
    assert list(map(facts, found)) == list(map(facts, lines(tmp_path / "socket")[: len(ASKED)]))
    assert {entry["client"] for entry in found} == {"127.0.0.1:50000"}


def test_a_client_that_leaves_is_one(tmp_path: Path) -> None:
    app = make(tmp_path / "log")

    async def scenario(client: TestClient) -> None:
        async with client.stream("GET", "/endless") as answer:
            await answer.read(1)
        (entry,) = lines(tmp_path / "log")
        assert (entry["status"], entry["aborted"], entry["route"]) == (200, True, "/endless")
        page = (await client.get("/metrics")).text
        assert 'ember_http_requests_aborted_total{route="/endless",method="GET"} 1\n' in page
        assert "\nember_http_connections 1\n" in page
        assert "\nember_http_connections_accepted_total 2\n" in page

    run(app, scenario)


def test_an_application_is_observed_by_one_client_after_the_other(tmp_path: Path) -> None:
    app = make(tmp_path / "log")
    pages = []

    async def scenario(client: TestClient) -> None:
        await client.get("/items/1")
        pages.append((await client.get("/metrics")).text)

    run(app, scenario)
    run(app, scenario)
    assert [entry["path"] for entry in lines(tmp_path / "log")] == ["/items/1", "/metrics"] * 2
    for count, page in enumerate(pages, start=1):
        line = 'requests_total{route="/items/{id:int}",method="GET",status="200"} '
        assert f"{line}{count}\n" in page
        assert "\nember_http_connections 1\n" in page
