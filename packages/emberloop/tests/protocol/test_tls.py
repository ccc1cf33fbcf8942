"""TLS (P12): the same server behind it, on every loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ember.limits import RouteLimits, ServerLimits
from ember.protocol.server.tls import ServerTLS, TLSError
from ember.protocol.telemetry.observer import Observer
from ember.request import Request
from ember.response import StreamingResponse

from tests.support.app import App
from tests.support.server import DEADLINE, Running, ServeFixture
from tests.support.tls import Authority, Wire, connect, names_of, tls_of
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> tuple[str, str]:
    return authority.pair("localhost")


@pytest.fixture(params=["", "uvloop", "asyncio"])
def everywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of this run, and those of others, where TLS is a layer over their transports."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    if request.param:
        monkeypatch.setenv("EMBER_LOOP", request.param)


@pytest.fixture
def files(pair: tuple[str, str]) -> ServerTLS:
    return ServerTLS(*pair)


async def hello(request: Request) -> str:
    return "hello"


async def echo(request: Request) -> bytes:
    return await request.body()


async def who(request: Request) -> dict[str, Any]:
    cert = request.client_cert
    tls = request.tls
    assert tls is not None
    return {
        "scheme": request.scheme,
        "version": tls.version,
        "alpn": tls.alpn,
        "names": None if cert is None else [name for _, name in cert["subjectAltName"]],
        "der": len(tls.client_cert_der or b""),
    }


def ask(running: Running, context: ssl.SSLContext, name: str = "localhost") -> dict[str, Any]:
    import json

    with connect(running, context, name) as client:
        client.send(GET)
        answer: dict[str, Any] = json.loads(client.recv_response().body)
        return answer


# ---- requests -----------------------------------------------------------------------------------


def test_many_requests_over_one_connection(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    running = serve(App({"/": hello}), ssl=files)
    with connect(running, authority.client()) as client:
        for _ in range(50):
            client.send(GET)
            assert client.recv_response().body == b"hello"
        client.send(GET * 20)
        assert [client.recv_response().body for _ in range(20)] == [b"hello"] * 20


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_cut_anywhere_and_joined(
    serve: ServeFixture, files: ServerTLS, authority: Authority, version: ssl.TLSVersion
) -> None:
    running = serve(App({"/": hello, "/echo": echo}), ssl=files)
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    wire = Wire(running, context)
    wire.handshake(piece=7)
    wire.send(wire.sealed(GET), piece=1)
    assert wire.receive().endswith(b"hello")
    # One request in many records, in one packet with the next request.
    post = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n" + b"123456789"
    wire.send(
        b"".join(wire.sealed(post[at : at + 1]) for at in range(len(post))) + wire.sealed(GET)
    )
    got = b""
    while not got.endswith(b"hello"):
        got += wire.receive()
    assert b"123456789" in got
    # Two records and the half of a third.
    data = wire.sealed(GET) + wire.sealed(GET) + wire.sealed(GET)
    wire.send(data[:-40])
    got = wire.receive()
    while got.count(b"hello") < 2:
        got += wire.receive()
    wire.send(data[-40:])
    assert wire.receive().endswith(b"hello")
    wire.sock.close()


@pytest.mark.parametrize("size", [0, 1, 15_000, 16_384, 16_385, 70_000, 64 << 20])
def test_answers_of_every_size_arrive_whole(
    serve: ServeFixture, files: ServerTLS, authority: Authority, size: int
) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    running = serve(App({"/": lambda request: body}), ssl=files)
    with connect(running, authority.client()) as client:
        for _ in range(2 if size < 1 << 20 else 1):
            client.send(GET)
            answer = client.recv_response()
            assert len(answer.body) == size
            assert hashlib.md5(answer.body).digest() == hashlib.md5(body).digest()


def test_a_large_body_is_received_whole(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    size = 64 << 20

    async def digest(request: Request) -> str:
        found = hashlib.md5()
        async for chunk in request.stream:
            found.update(chunk)
        return found.hexdigest()

    app = App({"/": digest}, route_limits={"/": RouteLimits(max_body_size=size)})
    running = serve(app, ssl=files)
    body = bytes(range(256)) * (size // 256)
    with connect(running, authority.client()) as client:
        client.send(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")
        client.send(body)
        assert client.recv_response().body.decode() == hashlib.md5(body).hexdigest()


def test_a_slow_reader_stops_the_producer(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    made: list[int] = []
    piece = b"x" * 65536
    total = 1000

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(total):
            made.append(number)
            yield piece

    running = serve(App({"/": lambda request: StreamingResponse(pieces())}), ssl=files)
    with connect(running, authority.client(), receive_buffer=4096) as client:
        client.send(GET)
        client.recv_head()
        assert client.recv_chunk() == piece
        seen = -1
        while seen != len(made):  # until nothing more is made
            seen = len(made)
            threading.Event().wait(0.1)
        assert seen < total / 2
        got = 1
        while client.recv_chunk():
            got += 1
        assert got == total


def test_pipelined_answers_wait_for_a_slow_reader(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    body = b"x" * 1_000_000
    running = serve(App({"/": lambda request: body}), ssl=files)
    with connect(running, authority.client(), receive_buffer=4096) as client:
        client.send(GET * 20)
        assert all(client.recv_response().body == body for _ in range(20))


def test_the_version_is_1_2_or_later(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    assert files.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert files.context.options & ssl.OP_NO_RENEGOTIATION
    running = serve(App({"/": who}), ssl=files)
    context = authority.client()
    assert ask(running, context)["version"] == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ask(running, context)["version"] == "TLSv1.2"


def test_the_protocol_is_agreed_on(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    running = serve(App({"/": who}), ssl=files)
    context = authority.client()
    assert ask(running, context)["alpn"] is None
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert ask(running, context)["alpn"] == "http/1.1"


def test_a_context_of_ones_own(
    serve: ServeFixture, pair: tuple[str, str], authority: Authority
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    answer = ask(serve(App({"/": who}), ssl=context), authority.client())
    assert (answer["scheme"], answer["names"]) == ("https", None)


def test_a_session_is_resumed(serve: ServeFixture, files: ServerTLS, authority: Authority) -> None:
    running = serve(App({"/": hello}), ssl=files)
    context = authority.client()
    with connect(running, context) as client:
        client.send(GET)
        client.recv_response()
        session = tls_of(client).session
    sock = context.wrap_socket(running.connect().sock, server_hostname="localhost", session=session)
    with sock:
        assert sock.session_reused
        sock.sendall(GET)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


# ---- client certificates ------------------------------------------------------------------------


def test_a_client_certificate_is_required(
    serve: ServeFixture, pair: tuple[str, str], authority: Authority
) -> None:
    running = serve(App({"/": who}), ssl=ServerTLS(*pair, ca_certs=authority.roots))
    known = authority.client(authority.pair("client.example"))
    answer = ask(running, known)
    assert answer["names"] == ["client.example"]
    assert answer["der"] > 100
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(running, authority.client())


def test_a_client_certificate_may_be_optional(
    serve: ServeFixture,
    pair: tuple[str, str],
    authority: Authority,
    tmp_path: Path,
) -> None:
    tls = ServerTLS(*pair, ca_certs=authority.roots, client_cert="optional")
    running = serve(App({"/": who}), ssl=tls)
    assert ask(running, authority.client())["names"] is None
    known = authority.client(authority.pair("client.example"))
    assert ask(running, known)["names"] == ["client.example"]
    stranger = authority.client(Authority(tmp_path).pair("client.example"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(running, stranger)


# ---- host names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("localhost", "localhost"),
        ("shop.example", "shop.example"),
        ("SHOP.example", "shop.example"),
        ("a.wild.example", "*.wild.example"),
        ("named.wild.example", "named.wild.example"),
        ("a.b.wild.example", "localhost"),
        ("other.example", "localhost"),
        (None, "localhost"),
    ],
)
def test_the_certificate_is_chosen_by_host_name(
    serve: ServeFixture,
    pair: tuple[str, str],
    authority: Authority,
    asked: str | None,
    shown: str,
) -> None:
    names = ("shop.example", "*.wild.example", "named.wild.example")
    tls = ServerTLS(*pair, certs={name: authority.pair(name) for name in names})
    context = authority.client()
    context.check_hostname = False
    with connect(serve(App(), ssl=tls), context, asked) as client:
        assert names_of(client) == {shown}


# ---- new certificates ---------------------------------------------------------------------------


def shown_by(running: Running, authority: Authority) -> set[str]:
    context = authority.client()
    context.check_hostname = False
    with connect(running, context, "localhost") as client:
        return names_of(client)


def test_new_certificates_are_found_without_a_restart(
    serve: ServeFixture, authority: Authority
) -> None:
    cert, key = authority.pair("old.example", prefix="changing")
    tls = ServerTLS(cert, key, check_interval=0.02)
    running = serve(App({"/": hello}), ssl=tls)
    context = authority.client()
    context.check_hostname = False
    with connect(running, context) as before:
        assert names_of(before) == {"old.example"}
        authority.write(cert, key, "new.example")
        eventually(lambda: shown_by(running, authority) == {"new.example"})
        before.send(GET)
        assert before.recv_response().body == b"hello", "a connection keeps what it has"


def test_certificates_that_cannot_be_used_leave_the_old_ones_and_one_line(
    serve: ServeFixture, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.pair("steady.example")
    tls = ServerTLS(cert, key, check_interval=0.01)
    looks: list[bool] = []
    check = tls.check

    def counted() -> bool:
        looks.append(check())
        return looks[-1]

    tls.check = counted  # type: ignore[method-assign]
    running = serve(App({"/": hello}), ssl=tls)
    with caplog.at_level(logging.INFO, "ember.protocol"):
        Path(cert).write_text("nonsense")
        eventually(lambda: "stay in use" in caplog.text)
        after = len(looks)
        eventually(lambda: len(looks) > after + 5)
        assert shown_by(running, authority) == {"steady.example"}
        assert caplog.text.count("stay in use") == 1
        assert f"{cert} holds no certificate" in caplog.text
        assert "Traceback" not in caplog.text
        authority.write(cert, key, "repaired.example")
        eventually(lambda: shown_by(running, authority) == {"repaired.example"})


def test_certificates_are_read_again_when_told_to(
    serve: ServeFixture, authority: Authority
) -> None:
    cert, key = authority.pair("first.example", prefix="told")
    running = serve(App(), ssl=ServerTLS(cert, key))

    async def reload() -> bool:
        return running.server.reload_tls()

    assert running.call(reload())
    authority.write(cert, key, "second.example")
    assert running.call(reload())
    assert shown_by(running, authority) == {"second.example"}
    os.unlink(key)
    assert not running.call(reload())
    assert shown_by(running, authority) == {"second.example"}


# ---- what cannot be used ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda a: ((a.roots, "/nowhere.pem"), {}), "/nowhere.pem does not exist"),
        (lambda a: (("/nowhere.pem",), {}), "/nowhere.pem does not exist"),
        (lambda a: ((__file__,), {}), "test_tls.py holds no certificate"),
        (lambda a: ((a.roots,), {}), "roots.pem holds no key"),
        (
            lambda a: ((a.pair("one.example")[0], a.pair("two.example")[1]), {}),
            r"two.example.key.pem is not that of the certificate in .*one.example.cert.pem",
        ),
        (lambda a: (a.pair("a.example"), {"ca_certs": __file__}), "holds no certificate"),
        (lambda a: (a.pair("a.example"), {"ca_certs": "/nowhere"}), "/nowhere does not exist"),
        (lambda a: (a.pair("a.example"), {"client_cert": "optional"}), "needs ca_certs="),
        (
            lambda a: (a.pair("a.example"), {"client_cert": "yes", "ca_certs": a.roots}),
            "expected 'required' or 'optional'",
        ),
        (
            lambda a: (a.pair("a.example"), {"certs": {"a*": "x"}}),
            r'expected a host name or "\*\."',
        ),
        (lambda a: (a.pair("a.example"), {"check_interval": 0}), "expected seconds above 0"),
        (lambda a: (encrypted(a, "a.example"), {}), "is encrypted: give its password"),
        (
            lambda a: ((*encrypted(a, "a.example"), "wrong"), {}),
            "the password of the key in .* is wrong",
        ),
    ],
)
def test_what_cannot_be_used_is_a_clear_error(
    authority: Authority, make: Callable[[Authority], tuple[Any, Any]], says: str
) -> None:
    arguments, options = make(authority)
    with pytest.raises(TLSError, match=says):
        ServerTLS(*arguments, **options)


def encrypted(authority: Authority, name: str) -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization

    cert, key = authority.pair(name, prefix=f"encrypted-{name}")
    secret = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    Path(key).write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    return cert, key


@pytest.mark.parametrize("password", ["open sesame", b"open sesame", lambda: "open sesame"])
def test_an_encrypted_key(serve: ServeFixture, authority: Authority, password: Any) -> None:
    tls = ServerTLS(*encrypted(authority, "sesame.example"), password)
    assert shown_by(serve(App(), ssl=tls), authority) == {"sesame.example"}


# ---- ends ---------------------------------------------------------------------------------------


def test_both_sides_say_goodbye(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    running = serve(App({"/": hello}), ssl=files)
    with connect(running, authority.client()) as client:
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert client.recv_response().body == b"hello"
        assert client.recv_until_close() == b"", "the server's close_notify came"
    with connect(running, authority.client()) as client:
        client.send(GET)
        client.recv_response()
        plain = tls_of(client).unwrap()  # ours, and the server's answer to it
        assert plain.recv(1) == b""
        plain.close()
    eventually(lambda: running.server.connections == 0)


def test_an_idle_connection_is_closed_with_a_goodbye(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    running = serve(App({"/": hello}, limits=ServerLimits(keep_alive_timeout=0.2)), ssl=files)
    with connect(running, authority.client()) as client:
        client.send(GET)
        client.recv_response()
        assert client.recv_until_close() == b""


@pytest.mark.usefixtures("everywhere")
def test_a_close_notify_after_a_large_response(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    body = b"x" * (8 << 20)
    running = serve(App({"/": lambda request: body}), ssl=files)
    with connect(running, authority.client(), receive_buffer=4096) as client:
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert client.recv_response().body == body
        assert client.recv_until_close() == b""


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("how", ["unwrap", "close", "reset"])
def test_a_client_that_leaves_cancels_its_handler(
    serve: ServeFixture, files: ServerTLS, authority: Authority, how: str
) -> None:
    ended: list[bool] = []

    async def wait(request: Request) -> str:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)
        return "late"

    running = serve(App({"/": wait}), ssl=files)
    with connect(running, authority.client()) as client:
        client.send(GET)
        eventually(lambda: running.server.requests == 1)
        if how == "unwrap":
            # A goodbye alone says only that nothing more will come.
            with contextlib.suppress(OSError):
                tls_of(client).unwrap()
            client.close()
        else:
            getattr(client, how)()
        eventually(lambda: ended)
    eventually(lambda: running.server.connections == 0)


@pytest.mark.usefixtures("everywhere")
def test_an_interrupted_response_has_no_close_notify_at_its_end(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("out of words")

    running = serve(App({"/": lambda request: StreamingResponse(pieces())}), ssl=files)
    with connect(running, authority.client(), ragged=True) as client:
        client.send(GET)
        got = client.recv_until_close()
        assert b"first" in got
        assert not got.endswith(b"0\r\n\r\n")


def test_a_peer_that_takes_nothing_is_reset(
    serve: ServeFixture,
    files: ServerTLS,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = b"x" * (16 << 20)
    limits = ServerLimits(write_timeout=0.3)
    running = serve(App({"/": lambda request: body}, limits=limits), ssl=files)
    with connect(running, authority.client(), receive_buffer=4096) as client:
        client.send(GET)
        eventually(lambda: running.server.requests == 1)
        eventually(lambda: running.server.connections == 0)
    assert "read nothing" in caplog.text


@pytest.mark.usefixtures("everywhere")
def test_a_record_that_was_tampered_with_ends_the_connection(
    serve: ServeFixture,
    files: ServerTLS,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = serve(App({"/": hello}), ssl=files)
    with caplog.at_level(logging.INFO, "ember.protocol"):
        wire = Wire(running, authority.client())
        wire.handshake()
        record = bytearray(wire.sealed(GET))
        record[-1] ^= 1
        wire.send(bytes(record))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            wire.receive()
        wire.sock.close()
        eventually(lambda: running.server.connections == 0)
    assert running.server.requests == 0
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("everywhere")
def test_a_draining_server_closes_idle_connections_and_half_handshakes(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    running = serve(App({"/": hello}), ssl=files)
    with connect(running, authority.client()) as client, running.connect() as silent:
        client.send(GET)
        client.recv_response()
        silent.send(b"\x16\x03\x01\x02\x00")
        eventually(lambda: running.server.connections == 2)
        closing = asyncio.run_coroutine_threadsafe(running.server.close(), running.loop)
        assert client.recv_until_close() == b""
        assert silent.recv_until_close() == b""
        closing.result(DEADLINE)  # neither of them has said goodbye


# ---- handshakes that fail -----------------------------------------------------------------------


@pytest.mark.usefixtures("everywhere")
def test_plain_http_is_told_where_it_is(serve: ServeFixture, files: ServerTLS) -> None:
    running = serve(App({"/": hello}), ssl=files)
    with running.connect() as client:
        client.send(GET)
        answer = client.recv_response()
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert b"https://" in answer.body
        assert client.recv_until_close() == b""
    with running.connect() as client:
        client.send(b"HEAD / HTTP/1.1\r\n\r\n")
        assert client.recv_until_close().endswith(b"\r\n\r\n"), "no body for HEAD"


GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00" * 50,
    b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
    b"\x16\x03\x01\x00\x05hello",
    b"\x16",
    b"",
]


def test_plain_http_is_in_the_access_log_and_not_in_the_log_of_errors(
    serve: ServeFixture, files: ServerTLS, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Any, ...]] = []

    class Seen(Observer):
        def finished(self, request: Any, client: Any, status: int, *rest: Any) -> None:
            told.append((request, client, status, rest[0]))

    app = App({"/": hello})
    app.observer = Seen()  # type: ignore[attr-defined]
    running = serve(app, ssl=files)
    with caplog.at_level(logging.INFO), running.connect() as client:
        address = client.sock.getsockname()
        client.send(GET)
        said = client.recv_until_close()
    assert told == [(None, address, 400, len(said))]
    assert caplog.records == []


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("sent", GARBAGE)
def test_who_does_not_speak_tls_is_closed_without_a_traceback(
    serve: ServeFixture, files: ServerTLS, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve(App({"/": hello}), ssl=files)
    with caplog.at_level(logging.INFO), running.connect() as client:
        with contextlib.suppress(ConnectionError):  # closed with our bytes unread
            client.send(sent)
            client.finish()
            client.recv_until_close()
        eventually(lambda: running.server.connections == 0)
    assert "Traceback" not in caplog.text
    assert len(caplog.records) <= 1


@pytest.mark.usefixtures("everywhere")
def test_a_handshake_that_fails_is_one_line(
    serve: ServeFixture,
    pair: tuple[str, str],
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = serve(App(), ssl=ServerTLS(*pair, ca_certs=authority.roots))
    with caplog.at_level(logging.DEBUG, "ember.protocol"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(running, authority.client())
        eventually(lambda: running.server.connections == 0)
        lines = [r.getMessage() for r in caplog.records if r.name == "ember.protocol"]
    assert len(lines) == 1
    assert "the TLS handshake failed: peer did not return a certificate" in lines[0]


@pytest.mark.usefixtures("everywhere")
def test_a_handshake_has_a_time_limit(serve: ServeFixture, files: ServerTLS) -> None:
    limits = ServerLimits(handshake_timeout=0.3, header_timeout=60)
    running = serve(App(limits=limits), ssl=files)
    with running.connect() as silent, running.connect() as slow:
        slow.send(b"\x16\x03\x01")
        assert silent.recv_until_close() == b""
        assert slow.recv_until_close() == b""
    eventually(lambda: running.server.connections == 0)


def test_after_the_handshake_the_time_limit_of_the_head_holds(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    limits = ServerLimits(handshake_timeout=60, header_timeout=0.3)
    running = serve(App(limits=limits), ssl=files)
    with connect(running, authority.client()) as client:
        client.send(b"GET / HT")
        assert client.recv_response().status == 408


def test_handshakes_that_are_broken_off_leave_nothing_behind(
    serve: ServeFixture, files: ServerTLS, authority: Authority
) -> None:
    running = serve(App({"/": hello}), ssl=files)
    outgoing = ssl.MemoryBIO()
    started = authority.client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        started.do_handshake()
    greeting = outgoing.read()
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for number in range(300):
        with socket.create_connection(("127.0.0.1", running.port)) as sock:
            sock.sendall(greeting[: number * 2])
    with connect(running, authority.client()) as client:
        client.send(GET)
        assert client.recv_response().status == 200
    eventually(lambda: running.server.connections == 0)
    if before:
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)


@pytest.mark.usefixtures("everywhere")
def test_above_the_maximum_and_the_reserve_no_handshake_is_made(
    serve: ServeFixture,
    files: ServerTLS,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ember.protocol.server.overload.RESERVE", 0)
    running = serve(App({"/": hello}, limits=ServerLimits(max_connections=1)), ssl=files)
    with connect(running, authority.client()) as client:
        client.send(GET)
        assert client.recv_response().status == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect(running, authority.client())
    assert running.server.overload.refused == 1
