"""Request ids: on the response, in the log, and from a trusted proxy."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ember.middleware.observers import observe
from ember.request import Request
from ember.response import Response

if TYPE_CHECKING:
    from ember.routing.middleware_spec import MiddlewareSpec

#: The longest id, in characters.
MAX_LENGTH = 128

# A token (RFC 9110 section 5.6.2): harmless in a header field, a log and a JSON string.
_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch

#: The id of the current request, inside a RequestIDMiddleware; None elsewhere.
current_request_id: ContextVar[str | None] = ContextVar("ember.request_id", default=None)


def is_sane(value: object) -> bool:
    """Whether `value` may be an id: a token of at most MAX_LENGTH characters."""
    return isinstance(value, str) and len(value) <= MAX_LENGTH and _is_token(value) is not None


class RequestIDMiddleware:
    """Gives each request an id. The id is on the response, in log records and in problem+json.

    - `header`: the field of the response. With `trust_incoming` also that of the request.
    - `trust_incoming`: take the id that the request brings. It must be one field with a token (RFC
      9110 section 5.6.2) of at most 128 characters; otherwise a new id is made. Use it only behind
      a proxy that sets the field: a client could send an id that another request has.
    - `generate`: a function that makes an id, a token as above. Default: 16 random hexadecimal
      digits.

    `request.id` is the id, and `RequestIDFilter` puts it into log records. Every response has it:
    responses of error handlers, of handlers that took too long, and of the connection itself (a
    malformed request, a body over the limit, too many connections). Health checks have it if the
    middleware was added to the application. A request that cannot be read gets a new id.

    Raises ValueError if `header` is not the name of a header field. The response is a 500 if
    `generate` gives no valid id.
    """

    def __init__(
        self,
        header: str = "X-Request-ID",
        trust_incoming: bool = False,
        generate: Callable[[], str] | None = None,
    ) -> None:
        if not isinstance(header, str) or _is_token(header) is None:
            raise ValueError(
                f"RequestIDMiddleware(header={header!r}): expected the name of a header field"
            )
        if generate is not None and not callable(generate):
            raise TypeError(
                f"RequestIDMiddleware(generate={generate!r}): expected a function without arguments"
            )
        self.header = header
        self.trust_incoming = trust_incoming
        self.generate = generate

    def before(self, request: Request) -> None:
        """Choose the id."""
        observe(self)
        incoming = request.headers.get_all(self.header) if self.trust_incoming else ()
        if len(incoming) == 1 and is_sane(incoming[0]):
            request.id = incoming[0]
        elif self.generate is not None:
            request.id = self.new_id()
        current_request_id.set(request.id)

    def new_id(self) -> str:
        """Make a new id. Raises ValueError if `generate` gives no valid id."""
        made = os.urandom(8).hex() if self.generate is None else self.generate()
        if not is_sane(made):
            raise ValueError(
                f"RequestIDMiddleware: generate returned {made!r}; expected 1 to {MAX_LENGTH} "
                "letters, digits or characters of !#$%&'*+-.^_`|~"
            )
        return made

    def after(self, request: Request, response: Response) -> None:
        """Put the id on the response."""
        response.headers[self.header] = request.id

    def failed(self, request: Request, error: BaseException) -> None:
        """See `ember.middleware.observers`."""

    def responded(self, request: Request, response: Response) -> None:
        """Put the id on a response that does not go through `after`."""
        self.after(request, response)


def find(specs: Iterable[MiddlewareSpec]) -> RequestIDMiddleware | None:
    """The first RequestIDMiddleware among these middlewares; None if there is none."""
    for spec in specs:
        middleware = getattr(spec.before, "__self__", None)
        if isinstance(middleware, RequestIDMiddleware):
            return middleware
    return None


class RequestIDFilter(logging.Filter):
    """Gives log records `request_id`: the id of the current request; "-" outside a request.

    For a handler: `handler.addFilter(RequestIDFilter())`, with `%(request_id)s` in its format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set `request_id`. Returns True: every record passes."""
        record.request_id = current_request_id.get() or "-"
        return True
