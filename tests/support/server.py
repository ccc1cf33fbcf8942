"""A server in a thread of its own, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from ember.protocol import Server, serve

from tests.support.answers import Answer, Incomplete, Reader
from tests.support.waiting import DEADLINE

__all__ = [
    "DEADLINE",
    "Answer",
    "Client",
    "Incomplete",
    "Running",
    "ServeFixture",
    "new_event_loop",
]

T = TypeVar("T")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop that EMBER_LOOP and EMBER_PURE choose."""
    try:
        from ember.eventloop import new_event_loop as choose  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = choose()
    return loop


class Client:
    """A socket that speaks raw bytes. Every wait has a deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(DEADLINE)
        self.reader = Reader(lambda: sock.recv(65536))

    def send(self, data: bytes | str) -> None:
        """Send all of `data`."""
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def finish(self) -> None:
        """Say that nothing more will be sent (half-close)."""
        self.sock.shutdown(socket.SHUT_WR)

    def recv_response(self, method: str = "GET") -> Answer:
        """The next answer to a request of `method`."""
        return self.reader.answer(method)

    def recv_head(self) -> Answer:
        """The head of the next answer; its body is left."""
        return self.reader.head()

    def recv_chunk(self) -> bytes:
        """The next chunk of a chunked body; empty for the last one."""
        return self.reader.chunk()

    def recv_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        return self.reader.until(mark)

    def recv_exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        return self.reader.take(size)

    def recv_until_close(self) -> bytes:
        """Everything until the server closes. A reset raises `ConnectionResetError`."""
        return self.reader.rest()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def reset(self) -> None:
        """Close the socket with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Running:
    """A server in a thread. `port`, `url`, `connect()`, `get()`, `request()`, `call()`,
    `stop()`."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.app = app
        self.loop = new_event_loop()
        self.server: Server
        self._options = {"port": 0, **options}
        self._clients: list[Client] = []
        self._failure: BaseException | None = None
        self._stopped = False
        self.leaked: list[str] = []
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(DEADLINE), "the server did not start in time"
        if self._failure is not None:
            self._thread.join(DEADLINE)
            raise self._failure

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            try:
                self.server = self.loop.run_until_complete(serve(self.app, **self._options))
            except BaseException as error:  # noqa: BLE001 - raised in the test's thread
                self._failure = error
                return
            finally:
                started.set()
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            self.leaked = [repr(task) for task in tasks]
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    @property
    def port(self) -> int:
        """The TCP port."""
        address = self.server.addresses[0]
        assert isinstance(address, tuple)
        return address[1]

    @property
    def url(self) -> str:
        """`http://host:port`, without a slash at the end."""
        scheme = "https" if self._options.get("ssl") is not None else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def connect(self, *, receive_buffer: int | None = None) -> Client:
        """A new connection to the server. `receive_buffer`: bytes that the kernel keeps for us."""
        address = self.server.addresses[0]
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
        else:
            sock = socket.socket(self.server.sockets[0].family)
        sock.settimeout(DEADLINE)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        client = Client(sock)
        self._clients.append(client)
        return client

    def exchange(self, data: bytes | str, method: str = "GET") -> Answer:
        """One answer to `data` on a connection of its own."""
        with self.connect() as client:
            client.send(data)
            return client.recv_response(method)

    def request(
        self,
        method: str,
        path: str = "/",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        context: ssl.SSLContext | None = None,
    ) -> Answer:
        """One request by the standard library's client."""
        connection: http.client.HTTPConnection
        if self._options.get("ssl") is not None:
            connection = http.client.HTTPSConnection(
                "localhost", self.port, timeout=DEADLINE, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.reason, response.getheaders(), response.read())
        finally:
            connection.close()

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> Answer:
        """GET by the standard library's client."""
        return self.request("GET", path, headers=headers)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` on the server's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE)

    def stop(self, timeout: float = 1.0) -> None:
        """Stop the server; fails when it does not end in time or leaves tasks behind."""
        if self._stopped:
            return
        self._stopped = True
        for client in self._clients:
            client.close()
        asyncio.run_coroutine_threadsafe(self.server.close(timeout), self.loop).result(DEADLINE)
        asyncio.run_coroutine_threadsafe(_settled(), self.loop).result(DEADLINE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the loop did not stop in time"
        assert not self.leaked, f"tasks were left behind: {self.leaked}"


async def _settled() -> None:
    """Let tasks that were just cancelled come to their end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE / 2
    while len(asyncio.all_tasks()) > 1 and loop.time() < deadline:
        await asyncio.sleep(0.001)


ServeFixture = Callable[..., Running]
