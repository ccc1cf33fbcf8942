"""Start and stop: the order of hooks, what they get, what their failures do."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
from asyncio import CancelledError
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from ember import Ember, Events, Request, ServerLimits, StartError, TTLCache
from ember.application.components import Components
from ember.application.hooks import HookError

from tests.support.server import DEADLINE


class Store:
    pass


def port_of(app: Ember) -> int:
    assert app.server is not None
    address = app.server.addresses[0]
    assert isinstance(address, tuple)
    return address[1]


def get(app: Ember, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(app), timeout=DEADLINE)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_hooks_and_lifespans_run_in_the_documented_order() -> None:
    app = Ember()
    seen: list[str] = []

    @app.hook(Events.AFTER_SERVER_STOP)
    def after_stop() -> None:
        seen.append("after stop")

    @app.hook(Events.BEFORE_SERVER_STOP)
    async def before_stop(components: Components) -> None:
        seen.append(f"before stop {Store in components}")

    @app.hook(Events.AFTER_SERVER_START)
    async def after_start() -> None:
        seen.append("after start")

    @app.lifespan
    @asynccontextmanager
    async def first(app: Ember) -> AsyncIterator[None]:
        seen.append(f"first in {isinstance(app, Ember)}")
        yield
        seen.append("first out")

    @app.lifespan
    async def second(components: Components) -> AsyncIterator[None]:
        seen.append("second in")
        yield
        seen.append("second out")

    @app.hook(Events.BEFORE_SERVER_START)
    async def before_start(components: Components) -> None:
        seen.append("before start")
        components.add(Store())

    @app.get("/")
    async def index(store: Store) -> str:
        return f"{type(store).__name__} {app.server.requests if app.server else None}"

    app.run(port=0, block=False, startup_message=False)
    try:
        assert get(app, "/") == b"Store 1"
        with pytest.raises(StartError, match="is being served already"):
            app.run(port=0, block=False)
    finally:
        app.stop()
    assert seen == [
        "before start",
        "first in True",
        "second in",
        "after start",
        "before stop True",
        "second out",
        "first out",
        "after stop",
    ]
    app.stop()  # nothing to stop is nothing


def test_a_start_hook_that_fails_ends_the_start_and_unwinds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Ember()
    seen: list[str] = []

    @app.lifespan
    async def outer() -> AsyncIterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    @app.lifespan
    async def inner() -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    with pytest.raises(StartError, match="a start hook failed: ValueError: no database"):
        app.run(port=0, block=False)
    assert seen == ["in", "out"]
    assert app.server is None


def test_a_start_error_of_a_hook_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    app = Ember()

    @app.hook(Events.BEFORE_SERVER_START)
    def fail() -> None:
        raise StartError("the database does not answer")

    with pytest.raises(StartError, match=r"^the database does not answer$"):
        app.run(port=0, block=False)
    assert not caplog.records


def test_a_stop_hook_that_fails_is_logged_and_the_others_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Ember()
    ran = threading.Event()

    @app.hook(Events.BEFORE_SERVER_STOP)
    def fail() -> None:
        raise ValueError("broken")

    @app.lifespan
    async def life() -> AsyncIterator[None]:
        yield
        raise ValueError("also broken")

    @app.hook(Events.AFTER_SERVER_STOP)
    def last() -> None:
        ran.set()

    app.run(port=0, block=False, startup_message=False)
    app.stop()
    assert ran.is_set()
    messages = [r.getMessage() for r in caplog.records]
    assert "before_server_stop hook fail() failed" in messages
    assert "a lifespan failed while the server stopped" in messages


class _Broken(BaseException):
    """What `except Exception` does not see."""


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, CancelledError, _Broken])
def test_no_kind_of_failure_keeps_the_others_from_their_end(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()
    ran: list[str] = []

    @app.hook(Events.BEFORE_SERVER_STOP)
    def fail() -> None:
        raise kind

    @app.hook(Events.BEFORE_SERVER_STOP)
    def second() -> None:
        ran.append("second")

    @app.lifespan
    async def outer() -> AsyncIterator[None]:
        yield
        ran.append("outer")

    @app.lifespan
    async def inner() -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise kind

    @app.hook(Events.AFTER_SERVER_STOP)
    async def fail_too() -> None:
        raise kind

    @app.hook(Events.AFTER_SERVER_STOP)
    def last() -> None:
        ran.append("last")

    cache = TTLCache(ttl=10)

    @app.get("/", cache=cache)
    async def index() -> str:
        return "x"

    app.run(port=0, block=False, startup_message=False)
    pool = app._threads()
    app.stop()
    assert ran == ["second", "last"]  # a lifespan around one that fails gets its error
    messages = [r.getMessage() for r in caplog.records]
    assert "before_server_stop hook fail() failed" in messages
    assert "a lifespan failed while the server stopped" in messages
    assert "after_server_stop hook fail_too() failed" in messages
    assert pool._closed
    assert app.server is None


def test_a_stop_hook_that_takes_too_long_is_given_up_and_the_others_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Ember(server_limits=ServerLimits(shutdown_timeout=0.1))
    ran: list[str] = []

    @app.hook(Events.BEFORE_SERVER_STOP)
    async def endless() -> None:
        await asyncio.Event().wait()

    @app.lifespan
    async def life() -> AsyncIterator[None]:
        yield
        ran.append("life")

    @app.hook(Events.AFTER_SERVER_STOP)
    def last() -> None:
        ran.append("last")

    app.run(port=0, block=False, startup_message=False)
    app.stop()
    assert ran == ["life", "last"]
    messages = [r.getMessage() for r in caplog.records]
    assert any("the application's end did not come in time" in m for m in messages)
    assert "before_server_stop hook endless() failed" in messages


def test_a_cache_that_fails_to_close_leaves_the_others_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Ember()
    closed: list[int] = []

    class Cache(TTLCache):
        async def close(self) -> None:
            closed.append(id(self))
            raise ConnectionError("gone")

    first, second = Cache(ttl=10), Cache(ttl=10)

    @app.get("/a", cache=first)
    async def a() -> str:
        return "x"

    @app.get("/b", cache=second)
    async def b() -> str:
        return "x"

    app.run(port=0, block=False, startup_message=False)
    app.stop()
    assert sorted(closed) == sorted([id(first), id(second)])
    assert sum("closing" in r.getMessage() for r in caplog.records) == 2


def test_hooks_that_cannot_be_called_say_so_at_registration() -> None:
    app = Ember()
    with pytest.raises(HookError, match="takes `components`, `app` or nothing, not"):

        @app.hook(Events.BEFORE_SERVER_START)
        def hook(a: Any, b: Any) -> None: ...

    with pytest.raises(HookError, match=r"hook\('start'\): expected one of Events\."):
        app.hook("start")(print)  # type: ignore[arg-type]


def test_routes_that_conflict_keep_the_server_from_starting() -> None:
    app = Ember()

    async def one(a: str) -> None: ...
    async def two(b: str) -> None: ...

    app.get("/{a}")(one)
    app.get("/{b}")(two)
    with pytest.raises(StartError, match=r"\.one\) and .*\.two\) match the same requests"):
        app.run(port=0, block=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0: expected a whole number"),
        ({"http2": True}, "this version speaks HTTP/1.1 only"),
        ({"reload": True}, "this version does not reload"),
        ({"loop": "fast"}, 'loop="fast": expected one of auto, io_uring'),
        ({"port": 70000}, "port=70000: expected a number from 0 to 65535"),
        ({"uds": "x", "fd": 3}, "uds= and fd= exclude each other"),
        ({"ssl_keyfile": "k"}, "TLS needs ssl_certfile="),
        ({"ssl_certfile": "/nowhere/c.pem"}, "TLS: /nowhere/c.pem does not exist"),
        ({"ssl_certfile": __file__}, "TLS: .*test_lifecycle.py holds no certificate"),
        ({"ssl_client_cert": "optional"}, "TLS needs ssl_certfile="),
        ({"thread_pool_workers": 0}, "thread_pool_workers=0: expected a whole number"),
        ({"io_uring_buf_size": 0}, "io_uring_buf_size=0: expected a whole number"),
        ({"io_uring_num_bufs": 32769}, "io_uring_num_bufs=32769: expected 32768 at most"),
        ({"host": "no.such.host.invalid"}, "no.such.host.invalid is not an address"),
        ({"fd": 9999}, "fd=9999 is not a socket"),
    ],
)
def test_an_option_that_cannot_work_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StartError, match=message.replace("(", r"\(")):
        Ember().run(block=False, **{"port": 0, **options})


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port} is already in use by another"):
            Ember().run(port=port, block=False)
        with pytest.raises(SystemExit) as ended:
            Ember().run(port=port)
        assert ended.value.code == 1


def test_a_unix_socket_and_an_inherited_one_serve(tmp_path: Any) -> None:
    app = Ember()

    @app.get("/")
    async def index() -> str:
        return "here"

    path = tmp_path / "s"
    app.run(uds=path, block=False, startup_message=False)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b"here" in client.makefile("rb").read()
    finally:
        app.stop()
    assert not path.exists()

    listening = socket.create_server(("127.0.0.1", 0))
    app.run(fd=listening.detach(), block=False, startup_message=False)
    try:
        assert get(app, "/") == b"here"
    finally:
        app.stop()


def test_tls_serves_https_and_asks_for_a_client_certificate_when_told_to(tmp_path: Any) -> None:
    authority = trustme.CA()
    certificate, key, roots = (tmp_path / name for name in ("c.pem", "k.pem", "ca.pem"))
    server = authority.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(certificate)
    server.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(roots)
    app = Ember()

    @app.get("/")
    async def index(request: Request) -> str:
        cert = request.client_cert
        names = [] if cert is None else [name for _, name in cert["subjectAltName"]]
        return " ".join([request.scheme, *names])

    def ask(context: ssl.SSLContext) -> bytes:
        connection = http.client.HTTPSConnection(
            "localhost", port_of(app), timeout=DEADLINE, context=context
        )
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    options: dict[str, Any] = {"port": 0, "block": False, "startup_message": False}
    anonymous = ssl.create_default_context(cafile=roots)
    known = ssl.create_default_context(cafile=roots)
    authority.issue_cert("me").configure_cert(known)
    app.run(ssl_certfile=certificate, ssl_keyfile=key, **options)
    try:
        assert ask(anonymous) == b"https"
    finally:
        app.stop()
    app.run(ssl_certfile=certificate, ssl_keyfile=key, ssl_ca_certs=roots, **options)
    try:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(anonymous)
        assert ask(known) == b"https me"
    finally:
        app.stop()
    options |= {"ssl_client_cert": "optional", "ssl_ca_certs": roots}
    app.run(ssl_certfile=certificate, ssl_keyfile=key, **options)
    try:
        assert (ask(anonymous), ask(known)) == (b"https", b"https me")
        assert app.server is not None
        assert app.server.reload_tls()
    finally:
        app.stop()


def test_health_is_answered_when_there_is_too_much_to_do() -> None:
    app = Ember(server_limits=ServerLimits(max_connections=1, max_concurrent_requests=1))

    @app.get("/")
    async def index() -> str:
        return "here"

    app.run(port=0, block=False, startup_message=False)
    try:
        first = http.client.HTTPConnection("127.0.0.1", port_of(app), timeout=DEADLINE)
        first.request("GET", "/")
        assert first.getresponse().read() == b"here"
        for path, status in (("/", 503), ("/healthz", 200), ("/readyz", 200)):
            more = http.client.HTTPConnection("127.0.0.1", port_of(app), timeout=DEADLINE)
            more.request("GET", path)
            assert more.getresponse().status == status
            more.close()
        first.close()
    finally:
        app.stop()
