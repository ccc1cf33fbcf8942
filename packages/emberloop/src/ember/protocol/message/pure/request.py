"""`Request`: the head as received, decoded lazily, and the body as it arrives."""

from __future__ import annotations

from ember.exceptions import PayloadTooLarge
from ember.limits import RouteLimits
from ember.protocol.message.conditions import bypasses_cache, conditions
from ember.protocol.message.cookies import parse_cookies
from ember.protocol.message.forwarded import client_ip
from ember.protocol.message.headers import Headers
from ember.protocol.message.query import QueryParams, parse_query
from ember.protocol.message.quoting import unquote
from ember.protocol.message.values import read_json
from ember.protocol.message.whole_body import STREAMED, WholeBody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from typing import Any

    from ember.protocol.message.headers import HeadersInit
    from ember.protocol.message.interfaces import Head, Source, TLSInfo
    from ember.protocol.message.responses import HTMLResponse

_DEFAULT_LIMITS = RouteLimits()


class State:
    """Attributes of one request, free for middleware and handlers."""


class Request:
    """One request. Everything is decoded when it is first asked for.

    `path_params`, `route`, `app`, `limits`, `context`, `state` are settable; the layers above
    fill them.
    """

    __slots__ = (
        "__weakref__",
        "_after",
        "_args",
        "_body",
        "_content",
        "_context",
        "_cookies",
        "_head",
        "_headers",
        "_host",
        "_id",
        "_lost",
        "_path",
        "_source",
        "_state",
        "_whole",
        "app",
        "client",
        "limits",
        "method",
        "path_params",
        "route",
        "scheme",
        "tls",
    )

    #: the method, as sent: methods are case-sensitive (RFC 9110 section 9.1)
    method: str
    #: (host, port) of the peer; None on a unix socket and in memory
    client: tuple[str, int] | None
    #: "http" or "https"
    scheme: str
    #: the TLS connection it came over; None without TLS
    tls: TLSInfo | None
    #: what the connection enforces for this request; `dispatch` may set it
    limits: RouteLimits
    path_params: dict[str, Any]
    app: Any
    route: Any

    def __init__(
        self,
        head: Head,
        body: Source,
        *,
        host: bytes,
        client: tuple[str, int] | None,
        scheme: str,
    ) -> None:
        self.method = head.method
        self.client = client
        self.scheme = scheme
        self.tls = None
        self.limits = _DEFAULT_LIMITS
        self.path_params = {}
        self.app = None
        self.route = None
        self._head = head
        self._body = body
        self._host = host
        self._lost = False
        self._after: list[Callable[[], Awaitable[object]]] | None = None
        self._args: QueryParams | None = None
        self._content: bytes | None = None
        self._context: dict[str, Any] | None = None
        self._cookies: dict[str, str] | None = None
        self._headers: Headers | None = None
        self._id: str | None = None
        self._path: str | None = None
        self._source: Source | None = None
        self._whole: WholeBody | None = None
        self._state: Any = None

    # -- the target ---------------------------------------------------------------------------

    @property
    def route_key(self) -> str:
        """Method, space and raw path without query: one key for an exact look-up."""
        return f"{self.method} {self._head.raw_path.decode('latin-1')}"

    @property
    def raw_path(self) -> bytes:
        """The path as received, without query."""
        return self._head.raw_path

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        if self._path is None:
            self._path = unquote(self._head.raw_path).decode()
        return self._path

    @property
    def query_string(self) -> str:
        """The query as received, without the question mark."""
        return self._head.query.decode("latin-1")

    @property
    def args(self) -> QueryParams:
        """The query as a multi-map."""
        if self._args is None:
            self._args = QueryParams(parse_query(self._head.query))
        return self._args

    @property
    def url(self) -> str:
        """The whole URL: scheme, host, raw path and query."""
        query = f"?{self.query_string}" if self._head.query else ""
        path = self._head.raw_path.decode("latin-1")
        return f"{self.scheme}://{self.host}{'' if path == '*' else path}{query}"

    @property
    def host(self) -> str:
        """Host and port as the client named them; of an absolute-form target, its authority."""
        return self._host.decode("latin-1")

    @property
    def http_version(self) -> str:
        """ "1.0" or "1.1"."""
        return "1.1" if self._head.minor else "1.0"

    # -- fields -------------------------------------------------------------------------------

    @property
    def headers(self) -> Headers:
        """The header fields."""
        if self._headers is None:
            self._headers = Headers.from_raw(self._head.fields)
        return self._headers

    @property
    def conditions(self) -> int:
        """Which fields make the request conditional (RFC 9110 sections 13 and 14.2): 1 for
        If-None-Match, 2 for If-Modified-Since, 4 for Range and the others."""
        return conditions(self._head.fields)

    def joined(self, name: str) -> str | None:
        """The values of all fields called `name` (lower case), with commas between them (RFC 9110
        section 5.3); None when there is none."""
        values = self.headers.get_all(name)
        return ", ".join(values) if values else None

    @property
    def cookies(self) -> dict[str, str]:
        """Name to value of the `Cookie` fields."""
        if self._cookies is None:
            self._cookies = parse_cookies("; ".join(self.headers.get_all("cookie")))
        return self._cookies

    @property
    def content_type(self) -> str:
        """The media type of the body, lower case, without parameters; empty when there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip(" \t").lower()

    @property
    def client_ip(self) -> str | None:
        """The client's address; behind `app.trusted_proxies`, what they report."""
        return client_ip(self.client, self.headers, getattr(self.app, "trusted_proxies", ()))

    @property
    def client_cert(self) -> dict[str, Any] | None:
        """The certificate that the client has proved to own, as `ssl.SSLSocket.getpeercert()` gives
        it; None without one."""
        return None if self.tls is None else self.tls.client_cert

    @property
    def id(self) -> str:
        """A random id of this request, 16 hexadecimal digits; unique, no secret."""
        if self._id is None:
            import os

            self._id = os.urandom(8).hex()
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id = value

    @property
    def bypasses_cache(self) -> bool:
        """Whether it asks for more than what is at its target: credentials, a condition, a range, a
        cache directive, or has a body."""
        return bypasses_cache(self._head)

    def __copy__(self) -> Request:
        """The same request for work that outlives its connection: the context, the state and the id
        are shared; what is registered with `after_response` is not, and it has no client that could
        leave. Its body is what has been read of it."""
        other = Request(
            self._head, self._body, host=self._host, client=self.client, scheme=self.scheme
        )
        other.method = self.method
        other.app = self.app
        other.route = self.route
        other.limits = self.limits
        other.path_params = self.path_params
        other._content = b"" if self._content is None else self._content
        other._context = self.context
        other._state = self.state
        other._id = self.id
        other._headers = self._headers
        return other

    # -- room for others ----------------------------------------------------------------------

    @property
    def context(self) -> dict[str, Any]:
        """A dict of this request."""
        if self._context is None:
            self._context = {}
        return self._context

    @context.setter
    def context(self, value: dict[str, Any]) -> None:
        self._context = value

    @property
    def state(self) -> Any:
        """An object of this request for attributes."""
        if self._state is None:
            self._state = State()
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        self._state = value

    # -- the body -----------------------------------------------------------------------------

    async def body(self) -> bytes:
        """The whole body, its Content-Encoding undone unless `limits.decompress` is False.

        Raises `PayloadTooLarge` over `limits.max_body_size`, and
        `ClientDisconnected` when the client left before its end."""
        if self._content is None:
            if self._whole is None:
                self._whole = WholeBody(self._decoded())
            self._content = await self._whole.read()
            self._whole = None
        return self._content

    @property
    def stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it arrives; the client waits while the handler does. Nothing
        of it is kept: who reads the body afterwards gets a `RuntimeError`, unless `body()` had it
        before."""
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        if self._content is not None:
            if self._content:
                yield self._content
            return
        source = self._decoded()
        if source is self._body and not self._head.framing.has_body:
            return
        self._source = STREAMED
        while chunk := await source.read():
            yield chunk

    def _decoded(self) -> Source:
        """What the body is read from. Raises `UnsupportedMediaType` for a coding that is not
        known."""
        if self._source is None:
            self._source = self._body
            if self.limits.decompress and "content-encoding" in self.headers:
                from ember.protocol.message.content_coding import DecodedBody

                codings = ", ".join(self.headers.get_all("content-encoding"))
                limits = self.limits
                self._source = DecodedBody(
                    self._body, codings, limits.max_body_size, limits.max_frames
                )
        return self._source

    async def text(self) -> str:
        """The body as text, by the charset of its type (default UTF-8): UTF-8 and UTF-16, US-ASCII,
        ISO-8859-1 and Windows-1252. Raises `UnsupportedMediaType` for another, and `BadRequest`
        when the body is not in it."""
        from ember.protocol.message.charsets import decode_text

        return decode_text(await self.body(), self.headers.get("content-type", ""))

    async def json(self) -> Any:
        """The body as JSON. Raises `BadRequest` if it is not JSON, `PayloadTooLarge` over
        `limits.max_values`."""
        return read_json(await self.body(), self.limits.max_values)

    async def form(self) -> Any:
        """The fields of an urlencoded form (`QueryParams`), and where the framework is, of a
        multipart one (`ember.forms.multipart.FormData`). Raises `UnsupportedMediaType` for another
        type."""
        from ember.protocol.message.forms import read_form

        return await read_form(self)

    def render_template(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        *,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> HTMLResponse:
        """A response with a template of the application's, which sees this request as `request`.

        See `ember.Templates.render`. Raises `RuntimeError` when the application has none."""
        response: HTMLResponse = templates_of(self).render(
            name,
            context,
            request=self,
            status_code=status_code,
            headers=headers,
            content_type=content_type,
        )
        return response

    def after_response(self, callback: Callable[[], Awaitable[object]]) -> None:
        """Await `callback()` when the response is out, or was given up; in the task of the handler.

        Several run in the order of registration. One that fails is logged; the others still run.
        """
        if self._after is None:
            self._after = []
        self._after.append(callback)

    async def is_disconnected(self) -> bool:
        """Whether the client has left."""
        import asyncio

        await asyncio.sleep(0)
        return self._lost

    def __repr__(self) -> str:
        return f"<Request {self.method} {self._head.target.decode('latin-1')}>"


def templates_of(request: Request) -> Any:
    """The templates of the application that `request` went to. Raises `RuntimeError`."""
    templates = getattr(request.app, "templates", None)
    if templates is None:
        raise RuntimeError(
            "request.render_template: the application has no templates; give it some: "
            'Templates("templates", app=app)'
        )
    return templates


def too_large(most: int) -> PayloadTooLarge:
    """What a reader of the body gets when the body crosses its limit."""
    return PayloadTooLarge(f"the request body is larger than {most} bytes")
