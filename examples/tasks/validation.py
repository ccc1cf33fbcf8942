"""Turns what a client sent into our types, or into an answer that says what is wrong with it."""

from typing import TypeVar

import msgspec
from ember import HTTPError, Request

T = TypeVar("T")


async def body_as(request: Request, kind: type[T]) -> T:
    """The JSON body as `kind`; 415 when it is not sent as JSON, 400 when it is none, else 422."""
    media_type = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    # Other sites can make a browser send forms and plain text here, but not JSON.
    if media_type != "application/json":
        raise HTTPError(415, "Send the body as JSON, with Content-Type: application/json.")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise HTTPError(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPError(400, f"The body is not JSON: {error}") from None


def query_as(request: Request, kind: type[T]) -> T:
    """The query string as `kind`, or 422."""
    try:
        # strict=False: everything in a query is text, so "20" may become a number.
        return msgspec.convert(dict(request.args), kind, strict=False)
    except msgspec.ValidationError as error:
        raise HTTPError(422, str(error)) from None
