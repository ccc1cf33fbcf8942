"""TLS against clients that mean no good: sessions that outlive their trust, bytes after the
goodbye, names that are not ASCII."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from ember.limits import RouteLimits
from ember.protocol.server.tls import ServerTLS
from ember.request import Request

from tests.support.app import App
from tests.support.server import Running, ServeFixture
from tests.support.tls import Authority, Wire, connect, tls_of
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of this run, and stock asyncio's, where TLS is a layer over its transports."""
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


on_every_loop = pytest.mark.parametrize("everywhere", ["", "asyncio"], indirect=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def hello(request: Request) -> str:
    return "hello"


# -- sessions -------------------------------------------------------------------------------------


class Trust:
    """A server that trusts the authorities in one file, and what its clients are told."""

    def __init__(self, serve: ServeFixture, authority: Authority, folder: Path) -> None:
        self.authority = authority
        self.other = Authority(folder / "other")
        self.bundle = folder / "trusted.pem"
        self.trust(authority, self.other)
        self.files = authority.pair("localhost")
        self.tls = ServerTLS(*self.files, ca_certs=str(self.bundle))
        self.running: Running = serve(App({"/": hello}), ssl=self.tls)

    def trust(self, *authorities: Authority) -> None:
        new = self.bundle.with_suffix(".new")
        new.write_bytes(b"".join(Path(a.roots).read_bytes() for a in authorities))
        os.replace(new, self.bundle)

    def client(self, signed_by: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = self.authority.client(signed_by.pair("client.example"))
        context.minimum_version = context.maximum_version = version
        return context

    def session(self, context: ssl.SSLContext) -> ssl.SSLSession:
        with connect(self.running, context) as client:
            client.send(GET)
            assert client.recv_response().body == b"hello"
            session = tls_of(client).session
            assert session is not None
            return session

    def resume(self, context: ssl.SSLContext, session: ssl.SSLSession) -> tuple[bool, bytes]:
        """Whether the session was resumed, and what the server answers."""
        plain = self.running.connect().sock
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as sock:
            sock.sendall(GET)
            return bool(sock.session_reused), sock.recv(65536)


@pytest.fixture
def trust(serve: ServeFixture, authority: Authority, tmp_path: Path) -> Trust:
    (tmp_path / "other").mkdir()
    return Trust(serve, authority, tmp_path)


@on_every_loop
@pytest.mark.parametrize("version", VERSIONS)
def test_an_authority_that_is_trusted_no_more_lets_no_session_in(
    everywhere: None, trust: Trust, version: ssl.TLSVersion
) -> None:
    context = trust.client(trust.other, version)
    session = trust.session(context)
    assert trust.resume(context, session)[0]
    trust.trust(trust.authority)
    assert trust.tls.reload()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        trust.resume(context, session)


@on_every_loop
@pytest.mark.parametrize("version", VERSIONS)
def test_clients_that_are_still_trusted_shake_hands_again(
    everywhere: None, trust: Trust, version: ssl.TLSVersion
) -> None:
    context = trust.client(trust.authority, version)
    session = trust.session(context)
    trust.trust(trust.authority)
    assert trust.tls.reload()
    resumed, answer = trust.resume(context, session)
    assert not resumed
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_reload_that_changes_no_trust_keeps_the_sessions(
    trust: Trust, version: ssl.TLSVersion
) -> None:
    context = trust.client(trust.other, version)
    session = trust.session(context)
    trust.authority.write(*trust.files, "localhost")
    assert trust.tls.reload()
    assert trust.resume(context, session)[0]


# -- bytes after the goodbye ----------------------------------------------------------------------


@on_every_loop
def test_what_comes_after_a_goodbye_is_not_kept(
    everywhere: None, serve: ServeFixture, authority: Authority
) -> None:
    entered, leave = threading.Event(), threading.Event()

    async def wait(request: Request) -> str:
        entered.set()
        while not leave.is_set():
            await asyncio.sleep(0.01)
        return "late"

    app = App({"/": wait}, route_limits={"/": RouteLimits(cancel_on_disconnect=False)})
    running = serve(app, ssl=ServerTLS(*authority.pair("localhost")))
    wire = Wire(running, authority.client())
    wire.handshake()
    wire.send(wire.sealed(GET))
    eventually(entered.is_set)
    wire.send(wire.goodbye())
    process = psutil.Process()
    before = process.memory_info().rss
    record = b"\x17\x03\x03\x40\x00" + bytes(16384)
    try:
        for _ in range(8):
            for _ in range(32):
                wire.sock.sendall(record * 16)
            assert process.memory_info().rss - before < 24 << 20
    except ConnectionError:
        pass  # the server may hang up instead
    finally:
        leave.set()
    assert process.memory_info().rss - before < 24 << 20
    wire.sock.close()


# -- names ----------------------------------------------------------------------------------------


def hello_for(name: bytes) -> bytes:
    """A ClientHello that asks for `name`, which a well-behaved library would not send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="x" * len(name))
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    record = outgoing.read()
    assert record.count(b"x" * len(name)) == 1
    return record.replace(b"x" * len(name), name)


@on_every_loop
@pytest.mark.parametrize("name", [b"caf\xc3\xa9.example", b"\xff" * 20, b"a\nINFO forged.example"])
def test_an_invalid_host_name_prints_nothing(
    everywhere: None,
    name: bytes,
    serve: ServeFixture,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    caplog.set_level(logging.INFO, "ember.protocol")
    running = serve(App({"/": hello}), ssl=ServerTLS(*authority.pair("localhost")))
    with running.connect() as client:
        client.send(hello_for(name))
        client.sock.shutdown(socket.SHUT_WR)
        while client.sock.recv(65536):
            pass
    assert not unraisable
    assert capfd.readouterr().err == ""
    assert all("\n" not in record.getMessage() for record in caplog.records)


@pytest.mark.once
def test_other_errors_that_nobody_catches_are_still_told(
    serve: ServeFixture, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.pair("localhost"))

    def fail(*_: object) -> None:
        raise RuntimeError("mine")

    context.sni_callback = fail
    running = serve(App({"/": hello}), ssl=context)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(running, authority.client()).close()
    eventually(lambda: unraisable)
    assert str(unraisable[0].exc_value) == "mine"
