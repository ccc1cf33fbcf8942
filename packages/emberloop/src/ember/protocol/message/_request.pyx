"""`Request` of the compiled build: the head as one block of bytes, decoded when asked for."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memcmp

from ember._json import decoder
from ember.exceptions import BadRequest
from ember.limits import RouteLimits
from ember.protocol.message.cookies import parse_cookies
from ember.protocol.message.forwarded import client_ip
from ember.protocol.message.headers import Headers
from ember.protocol.message.pure.request import State, templates_of
from ember.protocol.message.whole_body import STREAMED, WholeBody
from ember.protocol.message.query import QueryParams, parse_query
from ember.protocol.message.quoting import unquote
from ember.protocol.message.values import SMALL, read_json

cdef Py_ssize_t SMALL_BODY = SMALL
cdef object DEFAULT_LIMITS = RouteLimits()
cdef str GET = "GET", POST = "POST", HEAD = "HEAD", PUT = "PUT", DELETE = "DELETE"
cdef object make_headers = Headers.from_raw


include "_fields.pxi"
include "_ready.pxi"
include "_ids.pxi"


cdef Request make_request(h1_head *head, const char *data, object client, object scheme):
    cdef Request request = Request.__new__(Request)
    request.head = head[0]
    request.raw = PyBytes_FromStringAndSize(data, head.pos)
    request.client = client
    request.scheme = scheme
    request.limits = DEFAULT_LIMITS
    return request


@cython.freelist(32)
cdef class Request:
    """One request. Everything is decoded when it is first asked for.

    `path_params`, `route`, `app`, `limits`, `context`, `state` are settable; the layers above
    fill them.
    """

    cdef inline bytes cut(self, uint32_t at, uint32_t size):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.raw) + at, size)

    # ---- the target ------------------------------------------------------------------------

    @property
    def method(self):
        """The method, as sent: methods are case-sensitive (RFC 9110 section 9.1)."""
        cdef const char *p
        cdef uint32_t n
        if self._method is None:
            p = PyBytes_AS_STRING(self.raw) + self.head.start
            n = self.head.method_len
            if n == 3 and memcmp(p, b"GET", 3) == 0:
                self._method = GET
            elif n == 4 and memcmp(p, b"POST", 4) == 0:
                self._method = POST
            elif n == 4 and memcmp(p, b"HEAD", 4) == 0:
                self._method = HEAD
            elif n == 3 and memcmp(p, b"PUT", 3) == 0:
                self._method = PUT
            elif n == 6 and memcmp(p, b"DELETE", 6) == 0:
                self._method = DELETE
            else:
                self._method = PyUnicode_DecodeLatin1(p, n, NULL)
        return self._method

    @property
    def route_key(self):
        """Method, space and raw path without query: one key for an exact look-up."""
        cdef h1_head *h = &self.head
        if h.path == h.target:
            # Contiguous in the request line: one string, made once.
            return PyUnicode_DecodeLatin1(
                PyBytes_AS_STRING(self.raw) + h.start, h.method_len + 1 + h.path_len, NULL
            )
        return f"{self.method} {self.raw_path.decode('latin-1')}"

    @property
    def raw_path(self):
        """The path as received, without query."""
        if self.head.path_len == 0:
            # An absolute form without a path (RFC 9110 section 4.2.3, RFC 9112 section 3.2.4).
            return b"*" if self.method == "OPTIONS" and not self.head.query_len else b"/"
        return self.cut(self.head.path, self.head.path_len)

    @property
    def path(self):
        """The path, percent-decoded."""
        if self._path is None:
            self._path = unquote(self.raw_path).decode()
        return self._path

    @property
    def query_string(self):
        """The query as received, without the question mark."""
        return PyUnicode_DecodeLatin1(
            PyBytes_AS_STRING(self.raw) + self.head.query, self.head.query_len, NULL
        )

    @property
    def args(self):
        """The query as a multi-map."""
        if self._args is None:
            self._args = QueryParams(parse_query(self.cut(self.head.query, self.head.query_len)))
        return self._args

    @property
    def url(self):
        """The whole URL: scheme, host, raw path and query."""
        query = f"?{self.query_string}" if self.head.query_len else ""
        path = self.raw_path.decode("latin-1")
        return f"{self.scheme}://{self.host}{'' if path == '*' else path}{query}"

    @property
    def host(self):
        """Host and port as the client named them; of an absolute-form target, its authority."""
        return PyUnicode_DecodeLatin1(
            PyBytes_AS_STRING(self.raw) + self.head.host, self.head.host_len, NULL
        )

    @property
    def http_version(self):
        """"1.0" or "1.1"."""
        return "1.1" if self.head.minor else "1.0"

    # ---- fields ----------------------------------------------------------------------------

    @property
    def headers(self):
        """The header fields."""
        if self._headers is None:
            self._headers = make_headers(raw_fields(self.raw, self.head.fields))
        return self._headers

    @property
    def conditions(self):
        """Which fields make the request conditional (RFC 9110 sections 13 and 14.2): 1 for
        If-None-Match, 2 for If-Modified-Since, 4 for Range and the others."""
        return conditions_in(self.raw, self.head.fields)

    def joined(self, str name):
        """The values of all fields called `name` (lower case), with commas between them (RFC 9110
        section 5.3); None when there is none."""
        return joined_values(self.raw, self.head.fields, name)

    @property
    def cookies(self):
        """Name to value of the `Cookie` fields."""
        if self._cookies is None:
            self._cookies = parse_cookies("; ".join(self.headers.get_all("cookie")))
        return self._cookies

    @property
    def content_type(self):
        """The media type of the body, lower case, without parameters; empty when there is none."""
        return media_type(self.raw, self.head.fields)

    @property
    def client_ip(self):
        """The client's address; behind `app.trusted_proxies`, what they report."""
        return client_ip(self.client, self.headers, getattr(self.app, "trusted_proxies", ()))

    @property
    def client_cert(self):
        """The certificate that the client has proved to own, as `ssl.SSLSocket.getpeercert()` gives
        it; None without one."""
        return None if self.tls is None else self.tls.client_cert

    @property
    def id(self):
        """A random id of this request, 16 hexadecimal digits; unique, no secret."""
        cdef char digits[16]
        if self._id is None:
            fill_id(digits)
            self._id = PyUnicode_DecodeLatin1(digits, 16, NULL)
        return self._id

    @id.setter
    def id(self, value):
        self._id = value

    @property
    def path_params(self):
        """What the router found in the path, by name."""
        if self._path_params is None:
            self._path_params = {}
        return self._path_params

    @path_params.setter
    def path_params(self, value):
        self._path_params = value

    @property
    def bypasses_cache(self):
        """Whether it asks for more than what is at its target: credentials, a condition, a range, a
        cache directive, or has a body."""
        return bool(self.head.flags & (H1_BYPASSES_CACHE | H1_CHUNKED)) \
            or self.head.content_length > 0

    def __copy__(self):
        """The same request for work that outlives its connection: the context, the state and the id
        are shared; what is registered with `after_response` is not, and it has no client that could
        leave. Its body is what has been read of it."""
        cdef Request other = Request.__new__(Request)
        other.head = self.head
        other.raw = self.raw
        other.client = self.client
        other.scheme = self.scheme
        other.app = self.app
        other.route = self.route
        other.limits = self.limits
        other.content = b"" if self.content is None else self.content
        other.decoded = self.decoded
        other._path_params = self.path_params
        other._context = self.context
        other._state = self.state
        other._id = self.id
        other._method = self._method
        other._headers = self._headers
        return other

    # ---- room for others -------------------------------------------------------------------

    @property
    def context(self):
        """A dict of this request."""
        if self._context is None:
            self._context = {}
        return self._context

    @context.setter
    def context(self, value):
        self._context = value

    @property
    def state(self):
        """An object of this request for attributes."""
        if self._state is None:
            self._state = State()
        return self._state

    @state.setter
    def state(self, value):
        self._state = value

    # ---- the body --------------------------------------------------------------------------

    cdef int decode(self) except -1:
        """Put the decoder of its Content-Encoding before the body. Raises `UnsupportedMediaType`
        for a coding that is not known."""
        if not self.decoded and self.limits.decompress:
            from ember.protocol.message.content_coding import DecodedBody

            codings = ", ".join(self.headers.get_all("content-encoding"))
            self.source = DecodedBody(
                self.source if self.content is None else self.content,
                codings,
                self.limits.max_body_size,
                self.limits.max_frames,
            )
            self.content = None
        self.decoded = True
        return 0

    def body(self):
        """The whole body, its Content-Encoding undone unless `limits.decompress` is False.

        Raises `PayloadTooLarge` over `limits.max_body_size`, and `ClientDisconnected` when the
        client left before its end."""
        if self.content is not None and not self.head.flags & H1_ENCODED:
            self.given = True
            return ready(self.content, False)
        return self.read_body()

    async def read_body(self):
        if self.head.flags & H1_ENCODED:
            self.decode()
        if self.content is None:
            if self.whole is None:
                self.whole = WholeBody(self.source)
            self.content = await self.whole.read()
            self.whole = None
        self.given = True
        return self.content

    @property
    def stream(self):
        """The body piece by piece, as it arrives; the client waits while the handler does. Nothing
        of it is kept: who reads the body afterwards gets a `RuntimeError`, unless `body()` had it
        before."""
        return self.read_stream()

    async def read_stream(self):
        if self.head.flags & H1_ENCODED:
            self.decode()
        if self.content is not None:
            # What came with the head counts as read only when `body()` gave it: how the packets
            # fell changes nothing.
            content = self.content
            if not self.given and content:
                self.content = None
                self.source = STREAMED
            if content:
                yield content
            return
        source, self.source = self.source, STREAMED
        while chunk := await source.read():
            yield chunk

    async def text(self):
        """The body as text, by the charset of its type (default UTF-8): UTF-8 and UTF-16, US-ASCII,
        ISO-8859-1 and Windows-1252. Raises `UnsupportedMediaType` for another, and `BadRequest`
        when the body is not in it."""
        from ember.protocol.message.charsets import decode_text

        return decode_text(await self.body(), self.headers.get("content-type", ""))

    def json(self):
        """The body as JSON. Raises `BadRequest` if it is not JSON, `PayloadTooLarge` over
        `limits.max_values`."""
        if self.content is not None and not self.head.flags & H1_ENCODED \
                and PyBytes_GET_SIZE(self.content) <= SMALL_BODY:
            self.given = True
            return ready(self.content, True)
        return self.read_json()

    async def read_json(self):
        content = await self.body()
        if PyBytes_GET_SIZE(content) <= SMALL_BODY:
            return decode_json(content)
        return read_json(content, self.limits.max_values)

    def render_template(self, name, context=None, *, status_code=200, headers=None,
                        content_type=None):
        """A response with a template of the application's, which sees this request as `request`.

        See `ember.Templates.render`. Raises `RuntimeError` when the application has none."""
        return templates_of(self).render(name, context, request=self, status_code=status_code,
                                         headers=headers, content_type=content_type)

    async def form(self):
        """The fields of an urlencoded form, or of a multipart one where the framework is. Raises
        `UnsupportedMediaType` for another type."""
        from ember.protocol.message.forms import read_form

        return await read_form(self)

    def after_response(self, callback):
        """Await `callback()` when the response is out, or was given up; in the task of the handler.

        Several run in the order of registration. One that fails is logged; the others still run.
        """
        if self._after is None:
            self._after = []
        self._after.append(callback)

    async def is_disconnected(self):
        """Whether the client has left."""
        import asyncio

        await asyncio.sleep(0)
        return self._lost

    def __repr__(self):
        target = self.cut(self.head.target, self.head.target_len).decode("latin-1")
        return f"<Request {self.method} {target}>"


cdef object json_decoder = None


cdef object decode_json(bytes content):
    global json_decoder
    if json_decoder is None:
        json_decoder = decoder()
    try:
        return json_decoder(content)
    except Exception as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
