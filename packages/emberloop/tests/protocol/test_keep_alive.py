"""An idle connection ends in time; one that is used does not, however old it is."""

from __future__ import annotations

import time

from ember.limits import ServerLimits
from ember.request import Request

from tests.support.app import App
from tests.support.server import DEADLINE, ServeFixture

HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(request: Request) -> str:
    return "hello"


def test_a_connection_in_use_outlives_its_idle_timeout(serve: ServeFixture) -> None:
    server = serve(App({"/": hello}, limits=ServerLimits(keep_alive_timeout=1.2)))
    with server.connect() as client:
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            client.sock.settimeout(DEADLINE)
            client.send(HELLO)
            assert client.recv_response().body == b"hello"
            client.sock.settimeout(0.1)
            try:
                assert client.sock.recv(1) != b"", "closed although it was in use"
            except TimeoutError:
                continue  # a pause shorter than the timeout


def test_an_idle_connection_is_closed_at_its_timeout(serve: ServeFixture) -> None:
    server = serve(App({"/": hello}, limits=ServerLimits(keep_alive_timeout=0.4)))
    with server.connect() as client:
        client.send(HELLO)
        client.recv_response()
        began = time.monotonic()
        assert client.recv_until_close() == b""
        assert 0.3 <= time.monotonic() - began < 8
