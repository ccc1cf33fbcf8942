"""Peers that have left, on loops that have not said so yet."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from pathlib import Path

import pytest
from ember.protocol.server.hangups import half_close
from ember.protocol.server.tls import ServerTLS
from ember.request import Request

from tests.support.app import App
from tests.support.server import ServeFixture
from tests.support.tls import Authority, connect
from tests.support.waiting import eventually


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_ending_a_side_that_a_reset_has_ended_is_no_error() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for gone in (False, True):
                peer = socket.create_connection(listener.getsockname())
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, sock=listener.accept()[0]
                )
                if gone:
                    reset(peer)
                assert half_close(transport) is not gone
                assert transport.is_closing() is gone
                transport.abort()
                peer.close()
                await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_a_client_that_resets_while_it_is_refused_leaves_no_traceback(
    serve: ServeFixture,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    secure: bool,
) -> None:
    """It is gone between the answer and the end of the server's side. Only stock asyncio asks the
    socket at that moment."""
    monkeypatch.setattr("tests.support.server.new_event_loop", asyncio.new_event_loop)
    ended: list[bool] = []

    def write_eof(self: _SelectorSocketTransport) -> None:
        ended.append(True)
        reset(client.sock)
        original(self)

    original = _SelectorSocketTransport.write_eof
    monkeypatch.setattr(_SelectorSocketTransport, "write_eof", write_eof)

    async def hello(request: Request) -> str:
        await asyncio.sleep(0.01)  # what follows is read in a callback of the loop's own
        return "hello"

    if secure:
        authority = Authority(tmp_path)
        running = serve(App({"/": hello}), ssl=ServerTLS(*authority.pair("localhost")))
        client = connect(running, authority.client())
    else:
        running = serve(App({"/": hello}))
        client = running.connect()
    with caplog.at_level(logging.ERROR):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbad\r\n\r\n")
        eventually(lambda: bool(ended))
        eventually(lambda: running.server.connections == 0)
    assert [record.getMessage() for record in caplog.records] == []
