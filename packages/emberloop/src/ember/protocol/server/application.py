"""`Application`: what the server needs of the application that it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ember.limits import ServerLimits
    from ember.request import Request
    from ember.response import Response


class Application(Protocol):
    """What `ember.protocol.serve` serves.

    It may have an attribute `observer`, an `ember.protocol.telemetry.observer.Observer`, which is
    notified of every exchange, and a method `identify(request) -> (id, field)`. The connection
    calls it for a request that it refuses itself: `id` is the request id, `field` the name of the
    response field that carries it (None: no field). `request` is None if it was refused before it
    was parsed.
    """

    limits: ServerLimits

    def dispatch(self, request: Request) -> object:
        """Called once per request when its head is complete. Returns a `Response`, `str`, `bytes`,
        an awaitable of one of them, or any other value for `into_response`."""

    def into_response(self, request: Request, value: object) -> Response:
        """The response for a value that is not a `Response`, `str` or `bytes`."""

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        """The response for whatever `dispatch`, its coroutine or `into_response` raised."""
