"""Who watches a request on its way, besides the functions of the middleware chain.

A chain never sees what became of errors inside of it, nor what the connection asks for when it cuts
a handler short (a timeout). A middleware that has to know adds itself to `watchers`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Protocol

from ember.request import Request
from ember.response import Response


class Watcher(Protocol):
    """What wants to know; what it raises ends the request as an error handler that fails does."""

    def failed(self, request: Request, error: BaseException) -> None:
        """The handler, or a middleware, raised `error`, which is about to be answered."""

    def answered(self, request: Request, response: Response) -> None:
        """`response` goes out past the chain."""


#: Those of the request in whose context this is asked. Each request has a context of its own.
watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("ember.watchers", default=())


def watch(watcher: Watcher) -> None:
    """Let `watcher` know of this request from now on, once."""
    known = watchers.get()
    if watcher not in known:
        watchers.set((*known, watcher))


def tell(
    watching: tuple[Watcher, ...], request: Request, response: Response | Awaitable[Response]
) -> Response | Awaitable[Response]:
    """`response`, once it is there and everybody knows."""
    if not isinstance(response, Response):
        return _tell_later(watching, request, response)
    response = response.copy()  # they may change it, and an error handler return it again
    for watcher in watching:
        watcher.answered(request, response)
    return response


async def _tell_later(
    watching: tuple[Watcher, ...], request: Request, awaitable: Awaitable[Response]
) -> Response:
    response = (await awaitable).copy()
    for watcher in watching:
        watcher.answered(request, response)
    return response
