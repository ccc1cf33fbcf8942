"""The kinds of `Response` by their content: text, HTML, JSON, problems, redirects, streams."""

from __future__ import annotations

from ember._json import dumps
from ember.constants import REASONS, reason
from ember.protocol.message._response import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping

    from ember.protocol.message.headers import HeadersInit


class TextResponse(Response):
    """Text, sent as `text/plain; charset=utf-8`."""

    def __init__(
        self,
        content: str = "",
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(content, status_code, headers, content_type or "text/plain; charset=utf-8")


class HTMLResponse(Response):
    """HTML, sent as `text/html; charset=utf-8`."""

    def __init__(
        self,
        content: str | bytes = "",
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(content, status_code, headers, content_type or "text/html; charset=utf-8")


class JSONResponse(Response):
    """`content` as JSON. Raises `TypeError` for a value that has no JSON form."""

    def __init__(
        self,
        content: object = None,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(dumps(content), status_code, headers, content_type or "application/json")


class RedirectResponse(Response):
    """Sends the client to `url` (RFC 9110 section 15.4). Characters that cannot stand in a URL are
    percent-encoded; line breaks and other control characters raise `ValueError`."""

    def __init__(
        self, url: str, status_code: int = 302, headers: HeadersInit | None = None
    ) -> None:
        if status_code not in (201, 300, 301, 302, 303, 307, 308):
            raise ValueError(f"status_code={status_code!r}: expected 301, 302, 303, 307 or 308")
        super().__init__(b"", status_code, headers)
        self.headers["Location"] = quote_url(url)


class StreamingResponse(Response):
    """Sends what an async or sync iterable of bytes or str yields, as it comes.

    A slow reader pauses the iterable; it is closed when the client leaves. A sync iterable other
    than a list or tuple runs in the thread pool. The head is sent with the first piece, also an
    empty one: an error before it is answered as an error of the handler. One after it breaks the
    message, so that the client sees that it is not whole.
    """

    def __init__(
        self,
        iterable: AsyncIterable[bytes | str] | Iterable[bytes | str],
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = "application/octet-stream",
    ) -> None:
        if isinstance(iterable, bytes | str) or not (
            hasattr(iterable, "__aiter__") or hasattr(iterable, "__iter__")
        ):
            raise TypeError(
                "StreamingResponse: expected an async or sync iterable of bytes or str, "
                f"got {type(iterable).__name__}"
            )
        super().__init__(b"", status_code, headers, content_type)
        self.stream = iterable


#: The members that RFC 9457 section 3.1 defines.
_MEMBERS = frozenset(("type", "title", "status", "detail", "instance"))
#: Problems without a detail, up to the last brace, by status.
_STARTS: dict[int, bytes] = {}


class ProblemResponse(Response):
    """An error that machines can read (RFC 9457), sent as `application/problem+json`.

    `title` defaults to the reason phrase; `extensions` are further members of the object.
    """

    def __init__(
        self,
        status_code: int = 500,
        detail: str | None = None,
        *,
        title: str | None = None,
        type: str = "about:blank",
        instance: str | None = None,
        headers: HeadersInit | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        status_code = int(status_code)
        plain = not extensions or _MEMBERS.isdisjoint(extensions)
        if title is None and type == "about:blank" and instance is None and plain:
            # What nearly every error is: only the detail and an id are new.
            start = _STARTS.get(status_code)
            if start is None:
                known = {"type": type, "title": reason(status_code), "status": status_code}
                start = dumps(known)[:-1]
                if status_code in REASONS:
                    _STARTS[status_code] = start
            body = start if detail is None else b'%b,"detail":%b' % (start, dumps(detail))
            body += b",%b" % dumps(dict(extensions))[1:] if extensions else b"}"
            super().__init__(body, status_code, headers, "application/problem+json")
            return
        problem: dict[str, object] = {
            "type": type,
            "title": reason(status_code) if title is None else title,
            "status": status_code,
        }
        if detail is not None:
            problem["detail"] = detail
        if instance is not None:
            problem["instance"] = instance
        if extensions:
            problem.update(extensions)
        super().__init__(dumps(problem), status_code, headers, "application/problem+json")


_URL_SAFE = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%"
)


def quote_url(url: str) -> str:
    """`url` with everything that RFC 3986 does not allow percent-encoded as UTF-8. Raises
    `ValueError` for control characters: a line break in a URL is an attack or a mistake."""
    if not isinstance(url, str):
        raise TypeError(f"url: expected str, got {type(url).__name__}")
    out = []
    for c in url:
        if c in _URL_SAFE:
            out.append(c)
        elif ord(c) < 0x20 or ord(c) == 0x7F:
            raise ValueError(f"url {url!r} has the control character {c!r}")
        else:
            out.extend(f"%{byte:02X}" for byte in c.encode())
    return "".join(out)
