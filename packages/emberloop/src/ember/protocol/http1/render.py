"""The head of a response as bytes, and its framing."""

from __future__ import annotations

from ember.constants import REASONS, reason
from ember.protocol.http1.framing import response_has_body, response_has_length, tokens
from ember.protocol.message.dates import date_field
from ember.protocol.message.headers import CONNECTION_FIELDS, check_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.message._response import Response

STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in REASONS.items()
}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Rendered:
    """The head of a response, and how its body is told from the next response."""

    __slots__ = ("chunked", "has_body", "head", "keep_alive", "length")

    head: bytes
    keep_alive: bool
    has_body: bool
    #: bytes of the body when they are known before; None: chunked, or until the connection closes
    length: int | None
    chunked: bool


def render_head(response: Response, method: str, minor: int, keep_alive: bool) -> Rendered:
    """The head of `response` to a request of `method` in HTTP/1.`minor`. Raises `ValueError` for a
    status or a field that HTTP has no bytes for."""
    status = response.status_code
    if not 200 <= status <= 599:
        # Set after the response was made. 1xx would announce another response (RFC 9110 section
        # 15.2).
        raise ValueError(f"status_code={status!r}: expected a number from 200 to 599")
    result = Rendered()
    result.has_body = response_has_body(method, status)
    result.chunked = False
    parts = [
        STATUS_LINES.get(status) or f"HTTP/1.1 {status} {reason(status)}\r\n".encode(),
    ]
    if response.content_type is not None:
        # Checked again: this is the last place before the wire.
        parts.append(
            f"Content-Type: {check_value('Content-Type', response.content_type)}\r\n".encode(
                "latin-1"
            )
        )
    announced: int | None = None
    date = None
    upgrade = False
    headers = response._headers if response._shared is None else response._shared
    encoded = headers.encoded() if headers is not None else b""
    if encoded is not None:
        parts.append(encoded)
    elif headers is not None:
        for name, value in headers.raw:
            lower = name.lower()
            if lower.decode() in CONNECTION_FIELDS:
                if lower == b"content-length" and value.isdigit():
                    announced = int(value)
                elif lower == b"connection" and b"close" in tokens(value):
                    keep_alive = False
                elif lower == b"date":
                    date = b"Date: " + value + b"\r\n"
            else:
                upgrade = upgrade or lower == b"upgrade"
                parts.append(name + b": " + value + b"\r\n")
    length: int | None
    if response.stream is not None:
        # A file knows how long it is.
        length = getattr(response.stream, "file_length", None) if announced is None else announced
    elif response.body or announced is None or result.has_body:
        length = len(response.body)
    else:
        # A response to HEAD, or a 304, may tell the length of what GET would send (RFC 9110
        # section 8.6).
        length = announced
    if status == 304 and announced is None and not response.body:
        length = None  # nothing is known of the representation (RFC 9110 section 15.4.5)
    elif status == 205:
        # 205 has no content, said by a length of zero (RFC 9110 section 15.3.6).
        length = 0
    if length is not None and response_has_length(status):
        parts.append(b"Content-Length: %d\r\n" % length)
    elif length is None and response_has_length(status) and status != 304:
        if minor:
            # RFC 9112 section 7: the only way to tell an end that is not known before.
            parts.append(b"Transfer-Encoding: chunked\r\n")
            result.chunked = True
        else:
            keep_alive = (
                False  # HTTP/1.0: the end of the connection is the end (RFC 9112 section 6.3)
            )
    # Persistence is the default in HTTP/1.1 and said aloud in HTTP/1.0 (RFC 9112 section 9.3).
    options = [] if keep_alive and minor else [b"keep-alive" if keep_alive else b"close"]
    if upgrade:
        options.append(b"upgrade")  # or a proxy would pass the field on (RFC 9110 section 7.8)
    if options:
        parts.append(b"Connection: " + b", ".join(options) + b"\r\n")
    parts.append(date or date_field())
    parts.append(b"\r\n")
    result.head = b"".join(parts)
    result.keep_alive = keep_alive
    result.length = length
    return result
