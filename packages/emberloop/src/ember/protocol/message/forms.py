"""The form in a request body: urlencoded here, other types by whoever registered a reader."""

from __future__ import annotations

from ember.exceptions import PayloadTooLarge, UnsupportedMediaType
from ember.protocol.message.query import QueryParams, parse_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

URLENCODED = "application/x-www-form-urlencoded"

#: Media type to the module and function that read its form. Multipart needs a parser and room on
#: disk, which are not the protocol's: the framework registers it.
_readers: dict[str, tuple[str, str]] = {}


def register_form_reader(media_type: str, module: str, function: str) -> None:
    """Let `await function(request)` answer `request.form()` for bodies of `media_type`.

    The module is imported when the first such form is asked for.
    """
    _readers[media_type] = (module, function)


async def read_form(request: Any) -> Any:
    """The form in the body of `request`; empty where it has neither body nor type.

    Raises `UnsupportedMediaType` for another type, and `PayloadTooLarge` over `limits.max_fields`.
    """
    kind = request.content_type
    if kind == URLENCODED:
        body: bytes = await request.body()
        most: int = request.limits.max_fields
        if body and body.count(b"&") >= most:
            raise PayloadTooLarge(f"the form has more than {most} fields")
        return QueryParams(parse_query(body))
    home = _readers.get(kind)
    if home is None and not kind and not await request.body():
        return QueryParams([])  # nothing was sent: a form whose fields are all left out
    if home is None:
        expected = " or ".join([URLENCODED, *_readers])
        raise UnsupportedMediaType(f"expected {expected}, got {kind or 'no type'}")
    from importlib import import_module

    return await getattr(import_module(home[0]), home[1])(request)
