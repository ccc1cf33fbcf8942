"""`Response`: data that the connection encodes and sends. Compiled with the types of
`_response.pxd`."""

from __future__ import annotations

from ember.protocol.message.cookies import format_cookie
from ember.protocol.message.headers import MutableHeaders, check_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable
    from datetime import datetime
    from typing import Literal, Self, TypeVar

    from ember.protocol.message.headers import HeadersInit

    AnyResponse = TypeVar("AnyResponse", bound="Response")


_TEXT, _BINARY = "text/plain; charset=utf-8", "application/octet-stream"
#: What may be sent as Content-Type for what was given: it is nearly always one of a few. Of those
#: that were looked at so many are kept.
_KINDS: dict[str, str] = {}
_KINDS_KEPT = 128


class Response:
    """A response with a body in memory.

    `content`: bytes, or str which is sent as UTF-8. `content_type` defaults to
    `application/octet-stream` for bytes, `text/plain; charset=utf-8` for str, none when empty.
    `status_code`: 200 to 599. Raises `ValueError` for another status and for headers that RFC 9110
    does not allow. Content-Length, Transfer-Encoding, Connection and Date belong to the connection.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_content_type",
        "_headers",
        "_shared",
        "body",
        "status_code",
        "stream",
    )

    body: bytes
    status_code: int
    #: what is sent piece by piece instead of `body`
    stream: AsyncIterable[bytes | str] | Iterable[bytes | str] | None

    def __init__(
        self,
        content: bytes | bytearray | memoryview | str = b"",
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> None:
        if not isinstance(status_code, int) or not 200 <= status_code <= 599:
            raise ValueError(f"status_code={status_code!r}: expected a number from 200 to 599")
        default: str | None = None
        if type(content) is bytes:
            self.body = content
            default = _BINARY if content else None
        elif isinstance(content, str):
            self.body = str(content).encode()
            default = _TEXT
        elif isinstance(content, (bytes, bytearray, memoryview)):
            self.body = bytes(content)
            default = _BINARY if self.body else None
        else:
            raise TypeError(
                f"content: expected bytes or str, got {type(content).__name__}; "
                "use JSONResponse for objects"
            )
        self.status_code = int(status_code)
        self.stream = None
        self._headers: MutableHeaders | None = None
        self._shared: MutableHeaders | None = None
        self._content_type: str | None
        if headers is not None:
            self._headers = MutableHeaders(headers)
        if content_type is not None:
            self.content_type = content_type
        elif self._headers is not None and "content-type" in self._headers:
            self._content_type = self._headers.pop("content-type")
        else:
            self._content_type = default

    @classmethod
    def trusted(cls, body: bytes, status_code: int, content_type: str | None) -> Self:
        """`Response(body, status_code, None, content_type)` without its checks: for a framework
        that knows its arguments to be right."""
        return _filled(cls.__new__(cls), body, status_code, content_type, None)

    @classmethod
    def sharing(
        cls, body: bytes, status_code: int, content_type: str | None, headers: MutableHeaders
    ) -> Self:
        """`trusted` with fields that many responses have: who asks for them gets a copy, so they
        are encoded once. Nobody may change `headers` any more."""
        return _filled(cls.__new__(cls), body, status_code, content_type, headers)

    @property
    def headers(self) -> MutableHeaders:
        """The fields of the response, to read and to change."""
        if self._headers is None:
            self._headers = MutableHeaders()
            if self._shared is not None:
                self._headers.take(self._shared)
                self._shared = None
        return self._headers

    @property
    def content_type(self) -> str | None:
        """The value of Content-Type; None sends none."""
        return self._content_type

    @content_type.setter
    def content_type(self, value: str | None) -> None:
        if value is None or type(value) is not str:
            self._content_type = None if value is None else check_value("Content-Type", value)
        elif value in _KINDS:
            self._content_type = _KINDS[value]
        else:
            kind = self._content_type = check_value("Content-Type", value)
            if len(_KINDS) < _KINDS_KEPT:
                _KINDS[value] = kind

    def set_cookie(
        self,
        name: str,
        value: str = "",
        *,
        max_age: int | None = None,
        expires: datetime | int | float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: Literal["lax", "strict", "none"] | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Add a `Set-Cookie` field (RFC 6265 section 4.1).

        `max_age`: seconds. `expires`: a datetime, or seconds since the epoch. Raises
        `ValueError` that names the attribute for anything that cannot stand in a cookie.
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
        self,
        name: str,
        *,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: Literal["lax", "strict", "none"] | None = "lax",
    ) -> None:
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

    def copy(self) -> Self:
        """The same response as an object of its own. What is streamed is not copied: it can mostly
        be read once."""
        cls = type(self)
        other = cls.__new__(cls)
        _filled(other, self.body, self.status_code, self._content_type, self._shared)
        other.stream = self.stream
        if self._headers is not None:
            other._headers = MutableHeaders()
            other._headers.take(self._headers)
        if cls is not Response:
            vars(other).update(vars(self))
            _copy_slots(self, other)
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code}>"


def _copy_slots(response: Response, other: Response) -> None:
    """What classes of the application keep in slots of their own."""
    for cls in type(response).__mro__:
        if cls is Response or cls is object:
            continue
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{cls.__name__.lstrip('_')}{name}"
            elif name in ("__dict__", "__weakref__"):
                continue
            if hasattr(response, name):
                setattr(other, name, getattr(response, name))


def _filled(
    response: AnyResponse,
    body: bytes,
    status_code: int,
    content_type: str | None,
    shared: MutableHeaders | None,
) -> AnyResponse:
    response.body = body
    response.status_code = status_code
    response.stream = None
    response._headers = None
    response._shared = shared
    response._content_type = content_type
    return response
