"""Observers of one request: they see errors and responses that a middleware does not see.

A middleware sees neither the errors inside it, which became responses, nor a response that goes out
past it. The connection makes such a response when it cuts a handler short (a timeout). A middleware
that has to know these adds itself to `observers` for the request.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Protocol

from ember.request import Request
from ember.response import Response


class RequestObserver(Protocol):
    """Called for the errors and for some responses of a request.

    An exception that a method raises ends the request, like an error handler that fails.
    """

    def failed(self, request: Request, error: BaseException) -> None:
        """The handler, or a middleware, raised `error`. The error handlers are called next."""

    def responded(self, request: Request, response: Response) -> None:
        """`response` is sent, and the middlewares do not see it."""


#: The observers of the current request; every request has a context of its own.
observers: ContextVar[tuple[RequestObserver, ...]] = ContextVar("ember.observers", default=())


def observe(observer: RequestObserver) -> None:
    """Add `observer` to the observers of the current request, unless it is among them."""
    known = observers.get()
    if observer not in known:
        observers.set((*known, observer))


def notify(
    notified: tuple[RequestObserver, ...],
    request: Request,
    response: Response | Awaitable[Response],
) -> Response | Awaitable[Response]:
    """Call `responded` of every observer in `notified`, and return the response.

    Returns an awaitable if `response` is one. The response is copied: an observer may change it,
    and an error handler may return the same object again.
    """
    if not isinstance(response, Response):
        return _notify_later(notified, request, response)
    response = response.copy()
    for observer in notified:
        observer.responded(request, response)
    return response


async def _notify_later(
    notified: tuple[RequestObserver, ...], request: Request, awaitable: Awaitable[Response]
) -> Response:
    response = (await awaitable).copy()
    for observer in notified:
        observer.responded(request, response)
    return response
