"""An idle connection ends in time; one that is used does not, however old it is."""

from __future__ import annotations

import time

from ember.limits import ServerLimits
from ember.request import Request

from tests.support.app import App
from tests.support.server import DEADLINE, ServeFixture
from tests.support.waiting import tries

HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(request: Request) -> str:
    return "hello"


def test_a_connection_in_use_outlives_its_idle_timeout(serve: ServeFixture) -> None:
    server = serve(App({"/": hello}, limits=ServerLimits(keep_alive_timeout=0.4)))
    for bound in tries():
        pauses = []
        with server.connect() as client:
            began = time.monotonic()
            while time.monotonic() < began + 1.2:
                client.sock.settimeout(DEADLINE)
                asked = time.monotonic()
                client.send(HELLO)
                assert client.recv_response().body == b"hello"
                client.sock.settimeout(0.1)
                try:
                    closed = client.sock.recv(1) == b""
                except TimeoutError:
                    closed = False
                pauses.append(time.monotonic() - asked)
                if closed:
                    assert pauses[-1] > 0.4, "closed although it was in use"
                    break
        bound(max(pauses), 0.4, "this client's longest pause")


def test_an_idle_connection_is_closed_at_its_timeout(serve: ServeFixture) -> None:
    server = serve(App({"/": hello}, limits=ServerLimits(keep_alive_timeout=0.4)))
    for bound in tries():
        with server.connect() as client:
            client.send(HELLO)
            client.recv_response()
            began = time.monotonic()
            assert client.recv_until_close() == b"", "an idle connection is closed without a word"
            took = time.monotonic() - began
        assert took >= 0.3
        bound(took, 1.4)
