"""What several workers promise, in the numbers of the promise (E3, P17)."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.support.service import Load, Serve, Service, write
from tests.support.waiting import DEADLINE, eventually

STREAMS = """
from ember import SSEResponse
@app.get("/slow")
async def slow():
    await asyncio.sleep(0.2)
    return {"version": 1, "pid": os.getpid()}
@app.get("/events")
async def events():
    async def forever():
        while True:
            yield "tick"
            await asyncio.sleep(0.05)
    return SSEResponse(forever())
"""


def test_400_keep_alive_connections_are_shared_by_4_workers(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path)
    service = serve("--workers", "4")
    connections: list[HTTPConnection] = []
    served: Counter[int] = Counter()
    try:
        for _ in range(400):
            connection = service.connect()
            connections.append(connection)
            connection.request("GET", "/")
            served[json.loads(connection.getresponse().read())["pid"]] += 1
        for connection in connections:
            connection.request("GET", "/")
            served[json.loads(connection.getresponse().read())["pid"]] += 1
    finally:
        for connection in connections:
            connection.close()
    assert sum(served.values()) == 800
    assert served.keys() == service.ready()
    assert max(served.values()) / min(served.values()) < 1.3, served


class Streams:
    """Clients of an endless stream that come back when they are told to; `failures` is how a stream
    ended that was not told."""

    def __init__(self, service: Service, clients: int) -> None:
        self.failures: list[str] = []
        self.told = 0
        self._service = service
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._read, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Streams:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive(), "a stream stands still"

    def _read(self) -> None:
        while not self._over.is_set():
            connection, told = self._service.connect(), False
            try:
                connection.request("GET", "/events")
                response = connection.getresponse()
                while not self._over.is_set() and (line := response.readline()):
                    told = told or line == b"event: close\n"
                if told:
                    with self._lock:
                        self.told += 1
                elif not self._over.is_set():
                    self.failures.append("a stream ended without a word")
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


#: Five show how each loop and build hands over; the promise is of twenty.
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("reloads", [5, pytest.param(20, marks=pytest.mark.once)])
def test_reloads_under_load_lose_no_request(tmp_path: Path, serve: Serve, reloads: int) -> None:
    write(tmp_path, STREAMS)
    service = serve("--workers", "2")
    with Load(service, 4) as plain, Load(service, 10, "/slow") as slow, Streams(service, 10) as sse:
        plain.wait_for_answers(100)
        for _ in range(reloads):
            service.reload()
        plain.wait_for_answers(100)
        slow.wait_for_answers(10)
    assert plain.failures == slow.failures == sse.failures == []
    assert sse.told >= reloads, "each reload ends the streams of both workers"
    eventually(lambda: service.children() == service.ready(), DEADLINE)
    assert service.stop() == 0
    assert "Traceback" not in service.text
