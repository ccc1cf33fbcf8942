"""The test client: requests in the same process, through the real codec, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ember.protocol.message.responses import quote_url
from ember.testing.body import _NOTHING, encode_body, encode_query
from ember.testing.client_connection import ClientConnection, send_body
from ember.testing.cookies import CookieJar
from ember.testing.events import EventStream
from ember.testing.options import RequestOptions
from ember.testing.responses import TestResponse

if TYPE_CHECKING:
    from typing import Unpack

    from ember.testing.interfaces import TestedApp

MAX_REDIRECTS = 20


class Disconnected(ConnectionError):
    """The test client disconnected, as `send_at_most` says, before there was a response."""


class TestClient:
    """`async with app.test_client() as client: response = await client.get("/")`.

    Entering the block runs the start hooks and lifespans. Leaving it closes open connections and
    runs the stop hooks. Every request goes through the same parser and connection as over a socket;
    concurrent requests have a connection each. `/metrics` counts the requests. The access log has
    the line of a request after its response was read.

    - `base_url`: scheme and host for URLs that are only a path.
    - `headers`: sent with every request. `cookies`: sent with every request; responses add to them.
    - `follow_redirects`: whether 3xx responses are followed (at most 20).
    - `raise_exceptions`: raise the exception of a handler here, if no error handler handles it.
      Otherwise the response is a 500.
    - `timeout`: seconds for a response, or for the next event of a stream; None for no limit.
    - `client`: the client's address that the application sees.
    """

    __test__ = False

    def __init__(
        self,
        app: TestedApp,
        *,
        base_url: str = "http://testserver",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        raise_exceptions: bool = True,
        timeout: float | None = 10.0,
        client: tuple[str, int] = ("127.0.0.1", 50000),
    ) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url={base_url!r}: expected http://host or https://host")
        self.app = app
        self.base_url = base_url
        self.headers = dict(headers or {})
        self.cookies = CookieJar()
        self.cookies.update(cookies or {})
        self.follow_redirects = follow_redirects
        self.raise_exceptions = raise_exceptions
        self.timeout = timeout
        self._client = client
        self._connections: list[ClientConnection] = []
        self._entered = False

    # -- lifespan -----------------------------------------------------------------------------

    async def __aenter__(self) -> TestClient:
        if self._entered:
            raise RuntimeError("this test client is in use; make another with app.test_client()")
        await self.app.startup()
        self._entered = True
        try:
            await self.app.lifecycle.started()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        connections, self._connections = self._connections, []
        try:
            for connection in connections:
                await connection.leave()
        finally:
            self._entered = False
            await self.app.shutdown()

    # -- requests -----------------------------------------------------------------------------

    async def request(
        self, method: str, url: str, **options: Unpack[RequestOptions]
    ) -> TestResponse:
        """Send a request and read its whole response.

        Raises TimeoutError, IncompleteResponse if the server closes the connection too early, and
        the exception of the handler (see `raise_exceptions`).
        """
        async with asyncio.timeout(self._timeout(options)):
            response, connection = await self._follow(method, url, options)
            most = options.get("receive_at_most")
            if most is not None:
                response._content = await response.read(most)
                await connection.leave()
                return response
            try:
                await response.aread()
            finally:
                self._finished(connection, response)
        self._check(connection)
        return response

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """GET `url`."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """POST to `url`."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """PUT to `url`."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """PATCH `url`."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """DELETE `url`."""
        return await self.request("DELETE", url, **options)

    async def head(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """HEAD of `url`."""
        return await self.request("HEAD", url, **options)

    async def options(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """OPTIONS of `url`."""
        return await self.request("OPTIONS", url, **options)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, **options: Unpack[RequestOptions]
    ) -> AsyncIterator[TestResponse]:
        """The response as soon as its head is there. The body is read in the block.

        Leaving the block before the end of the body disconnects the client.
        """
        async with asyncio.timeout(self._timeout(options)):
            response, connection = await self._follow(method, url, options)
        try:
            yield response
        finally:
            if response._body.complete:
                self._finished(connection, response)
            else:
                await connection.leave()
        self._check(connection)

    def sse(self, url: str, **options: Unpack[RequestOptions]) -> EventStream:
        """The server-sent events of `url`: `async for event in client.sse("/events")`."""

        async def open() -> TestResponse:
            headers = _fields(options.get("headers"))
            if not any(name.lower() == "accept" for name, _ in headers):
                headers.append(("Accept", "text/event-stream"))
            options["headers"] = headers
            response, connection = await self._follow("GET", url, options)
            self._check(connection)
            return response

        return EventStream(open, self._timeout(options))

    # -- one exchange -------------------------------------------------------------------------

    def _timeout(self, options: RequestOptions) -> float | None:
        return options.get("timeout", self.timeout)

    async def _follow(
        self, method: str, url: str, options: RequestOptions
    ) -> tuple[TestResponse, ClientConnection]:
        """Send a request and read the head of the response, following redirects if asked to."""
        url = urljoin(self.base_url, url)
        history: list[TestResponse] = []
        follow = options.get("follow_redirects", self.follow_redirects)
        options = options.copy()
        while True:
            response, connection = await self._exchange(method, url, options)
            response.history = list(history)
            if not follow or not response.is_redirect:
                return response, connection
            try:
                await response.aread()
            finally:
                self._finished(connection, response)
            history.append(response)
            if len(history) > MAX_REDIRECTS:
                raise RuntimeError(f"{history[0].url}: more than {MAX_REDIRECTS} redirects")
            url = urljoin(url, response.headers["location"])
            options.pop("params", None)
            # RFC 9110 section 15.4: 303 asks for a GET. Browsers do the same for a POST with 301,
            # 302.
            if (response.status_code == 303 and method != "HEAD") or (
                response.status_code in (301, 302) and method == "POST"
            ):
                method = "GET"
                options.pop("json", None)
                options.pop("data", None)
                options.pop("content", None)
                options.pop("files", None)

    async def _exchange(
        self, method: str, url: str, options: RequestOptions
    ) -> tuple[TestResponse, ClientConnection]:
        if not self._entered:
            raise RuntimeError("use the test client as `async with app.test_client() as client:`")
        parts = urlsplit(url)
        path = quote_url(parts.path or "/")
        query = quote_url(parts.query)
        if params := options.get("params"):
            query = "&".join(filter(None, (query, encode_query(params))))
        body, content_type = encode_body(
            options.get("json", _NOTHING),
            options.get("data"),
            options.get("content"),
            options.get("files"),
        )
        fields = self._fields(method, parts.netloc, options, body, content_type)
        https = parts.scheme == "https"
        cookie = self.cookies.field(
            parts.hostname or "", path, https, dict(options.get("cookies") or {})
        )
        if cookie:
            fields.append(("Cookie", cookie))
        target = f"{path}?{query}" if query else path
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields), "", ""]
        connection = self._connection(https)
        try:
            head = "\r\n".join(lines).encode("latin-1")
            response = await self._converse(connection, head, body, method, url, options)
        except BaseException:
            await connection.leave()
            self._check(connection)
            raise
        response.cookies = self.cookies.take(
            response.headers.get_all("set-cookie"), parts.hostname or "", path
        )
        return response, connection

    def _fields(
        self,
        method: str,
        host: str,
        options: RequestOptions,
        body: bytes | AsyncIterable[bytes] | None,
        content_type: str | None,
    ) -> list[tuple[str, str]]:
        own = _fields(options.get("headers"))
        names = {name.lower() for name, _ in own}
        fields = [("Host", host), ("User-Agent", "ember-testclient"), ("Accept", "*/*")]
        if isinstance(body, bytes):
            fields.append(("Content-Length", str(len(body))))
        elif body is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        elif method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", "0"))
        if content_type is not None:
            fields.append(("Content-Type", content_type))
        replaced = {name.lower() for name in self.headers}
        fields = [(n, v) for n, v in fields if n.lower() not in replaced] + [*self.headers.items()]
        fields = [(n, v) for n, v in fields if n.lower() not in names] + own
        for name, value in fields:
            if "\n" in name + value or "\r" in name + value:
                raise ValueError(f"header {name}: {value!r} has a line break")
        return fields

    async def _converse(
        self,
        connection: ClientConnection,
        head: bytes,
        body: bytes | AsyncIterable[bytes] | None,
        method: str,
        url: str,
        options: RequestOptions,
    ) -> TestResponse:
        """Send and read at the same time: a response may come before the body was sent."""
        most = options.get("send_at_most")
        await connection.transport.send(head)
        sender = asyncio.create_task(send_body(connection.transport, body, most))
        reading = asyncio.create_task(connection.reader.read_response(method, url))
        try:
            await asyncio.wait((sender, reading), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await sender  # raises the error of the test's own body generator
                if most is not None:
                    raise Disconnected(f"{method} {url}: left after {most} bytes of the body")
            return await reading
        finally:
            for task in (sender, reading):
                task.cancel()
            await asyncio.gather(sender, reading, return_exceptions=True)

    def _connection(self, https: bool) -> ClientConnection:
        self._connections = [
            connection for connection in self._connections if connection.busy or connection.reusable
        ]
        for connection in self._connections:
            if connection.https is https and connection.reusable:
                connection.busy = True
                return connection
        connection = ClientConnection(self.app, self._client, https)
        self._connections.append(connection)
        return connection

    def _finished(self, connection: ClientConnection, response: TestResponse) -> None:
        if response._body.complete:
            connection.busy = False
            connection.app.flush_log()
        else:
            connection.transport.disconnect()

    def _check(self, connection: ClientConnection) -> None:
        failure, connection.app.failure = connection.app.failure, None
        if failure is not None and self.raise_exceptions:
            raise failure


def _fields(headers: Mapping[str, str] | list[tuple[str, str]] | None) -> list[tuple[str, str]]:
    if headers is None:
        return []
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers)
