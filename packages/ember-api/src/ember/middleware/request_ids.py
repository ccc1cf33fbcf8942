"""Request ids: on the answer, in the log, from a proxy that is trusted."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ember.middleware.observers import watch
from ember.request import Request
from ember.response import Response

if TYPE_CHECKING:
    from ember.routing.middleware_spec import Step

#: Characters that an id has at most.
MAX_LENGTH = 128

# A token (RFC 9110 section 5.6.2): harmless in a header field, a log and a JSON string.
_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch

#: The id of the request that is being answered, below a RequestIDMiddleware; None elsewhere.
current_request_id: ContextVar[str | None] = ContextVar("ember.request_id", default=None)


def is_sane(value: object) -> bool:
    """Whether `value` may be an id: a token of at most MAX_LENGTH characters."""
    return isinstance(value, str) and len(value) <= MAX_LENGTH and _is_token(value) is not None


class RequestIDMiddleware:
    """Gives each request an id, and the id to its answer, its log records and its problem+json.

    - `header`: the field of the answer, and of the request where that is believed.
    - `trust_incoming`: take the id that the request brings; one field, a token (RFC 9110 section
      5.6.2) of at most 128 characters, else a new one is made. Only behind a proxy that sets it:
      what strangers may choose, they may repeat.
    - `generate`: makes an id, a token as above; default: 16 random hexadecimal digits.

    `request.id` has it, and `RequestIDFilter` puts it into log records. Every answer carries it:
    those of error handlers, that of a handler over its time, what the connection answers by itself
    (a malformed request, a body over the limit, too many connections) and, where the middleware is
    the application's, health checks. A request that cannot be read gets a new id. Raises ValueError
    for a header that is none; a request for which `generate` gives no id is a 500.
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
        """Settle the id."""
        watch(self)
        incoming = request.headers.get_all(self.header) if self.trust_incoming else ()
        if len(incoming) == 1 and is_sane(incoming[0]):
            request.id = incoming[0]
        elif self.generate is not None:
            request.id = self.new_id()
        current_request_id.set(request.id)

    def new_id(self) -> str:
        """An id that no request had. Raises ValueError when `generate` gives none."""
        made = os.urandom(8).hex() if self.generate is None else self.generate()
        if not is_sane(made):
            raise ValueError(
                f"RequestIDMiddleware: generate gave {made!r}; expected 1 to {MAX_LENGTH} "
                "letters, digits or characters of !#$%&'*+-.^_`|~"
            )
        return made

    def after(self, request: Request, response: Response) -> None:
        """Put it on the answer."""
        response.headers[self.header] = request.id

    def failed(self, request: Request, error: BaseException) -> None:
        """See `ember.middleware.observers`."""

    def answered(self, request: Request, response: Response) -> None:
        """Put it on an answer that passes by `after`."""
        self.after(request, response)


def find(steps: Iterable[Step]) -> RequestIDMiddleware | None:
    """The first of these middlewares that gives ids."""
    for step in steps:
        middleware = getattr(step.before, "__self__", None)
        if isinstance(middleware, RequestIDMiddleware):
            return middleware
    return None


class RequestIDFilter(logging.Filter):
    """Gives log records `request_id`: the id of the request they were written for, else "-".

    For a handler: `handler.addFilter(RequestIDFilter())`, with `%(request_id)s` in its format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set it; every record passes."""
        record.request_id = current_request_id.get() or "-"
        return True
