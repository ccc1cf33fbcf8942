"""`Response`: data that the connection encodes and sends."""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from ember.protocol.cookies import format_cookie
from ember.protocol.pure.headers import MutableHeaders, check_value

cdef str TEXT = "text/plain; charset=utf-8"
cdef str BINARY = "application/octet-stream"


cdef bint is_plain(object value) except -1:
    """Whether `value` may stand in a field as it is: visible ASCII with spaces inside. Spares what
    is ordinary the regular expression of `check_value`."""
    cdef Py_ssize_t size, i
    cdef const char *text
    if type(value) is not str:
        return False
    text = PyUnicode_AsUTF8AndSize(value, &size)
    if size == 0 or text[0] == 0x20 or text[size - 1] == 0x20:
        return False
    for i in range(size):
        if text[i] < 0x20 or text[i] > 0x7e:
            return False
    return True


cdef class Response:
    """An answer with a body in memory.

    `content`: bytes, or str which is sent as UTF-8. `content_type` defaults to
    `application/octet-stream` for bytes, `text/plain; charset=utf-8` for str, none when empty.
    `status_code`: 200 to 599. Raises `ValueError` for another status and for headers that RFC 9110
    does not allow. Content-Length, Transfer-Encoding, Connection and Date belong to the connection.
    """

    def __init__(self, content=b"", status_code=200, headers=None, content_type=None):
        cdef object default = None
        if not isinstance(status_code, int) or not 200 <= status_code <= 599:
            raise ValueError(f"status_code={status_code!r}: expected a number from 200 to 599")
        if isinstance(content, bytes):
            self.body = content if type(content) is bytes else bytes(content)
            if self.body:
                default = BINARY
        elif isinstance(content, str):
            self.body = str(content).encode()
            default = TEXT
        elif isinstance(content, (bytearray, memoryview)):
            self.body = bytes(content)
            if self.body:
                default = BINARY
        else:
            raise TypeError(
                f"content: expected bytes or str, got {type(content).__name__}; "
                "use JSONResponse for objects"
            )
        self.status_code = status_code
        if headers is not None:
            self._headers = MutableHeaders(headers)
        if content_type is not None:
            self.content_type = content_type
        elif self._headers is not None and "content-type" in self._headers:
            self._content_type = self._headers.pop("content-type")
        else:
            self._content_type = default

    @classmethod
    def trusted(cls, bytes body, int status_code, content_type):
        """`Response(body, status_code, None, content_type)` without its checks: for a framework
        that knows its arguments to be right."""
        cdef Response response = cls.__new__(cls)
        response.body = body
        response.status_code = status_code
        response._content_type = content_type
        return response

    @classmethod
    def sharing(cls, bytes body, int status_code, content_type, headers):
        """`trusted` with fields that many answers have: who asks for them gets a copy, so they are
        encoded once. Nobody may change `headers` any more."""
        cdef Response response = cls.__new__(cls)
        response.body = body
        response.status_code = status_code
        response._content_type = content_type
        response._shared = headers
        return response

    @property
    def headers(self):
        """The fields of the answer, to read and to change."""
        if self._headers is None:
            self._headers = MutableHeaders()
            if self._shared is not None:
                self._headers.take(self._shared)
                self._shared = None
        return self._headers

    @property
    def content_type(self):
        """The value of Content-Type; None sends none."""
        return self._content_type

    @content_type.setter
    def content_type(self, value):
        if value is not None and not is_plain(value):
            value = check_value("Content-Type", value)
        self._content_type = value

    def set_cookie(
        self, name, value="", *, max_age=None, expires=None, path="/", domain=None, secure=False,
        httponly=False, samesite="lax", partitioned=False,
    ):
        """Add a `Set-Cookie` field (RFC 6265 section 4.1).

        `max_age`: seconds. `expires`: a datetime, or seconds since the epoch. Raises `ValueError`
        that names the attribute for anything that cannot stand in a cookie.
        """
        self.headers.add(
            "Set-Cookie",
            format_cookie(
                name,
                value,
                max_age=max_age,
                expires=expires,
                path=path,
                domain=domain,
                secure=secure,
                httponly=httponly,
                samesite=samesite,
                partitioned=partitioned,
            ),
        )

    def delete_cookie(
        self, name, *, path="/", domain=None, secure=False, httponly=False, samesite="lax"
    ):
        """Make the client forget a cookie; `path` and `domain` as it was set with."""
        self.set_cookie(
            name,
            max_age=0,
            expires=0,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )

    def __repr__(self):
        return f"<{type(self).__name__} {self.status_code}>"
