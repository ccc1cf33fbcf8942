"""The door between the server and the world above."""

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
    then told of every exchange, and a method `identify(request) -> (id, field)`, which is asked for
    the id of what the connection refuses by itself, and for the name of the field that carries it
    in the response (None: none does). `request` is None where it was refused before there was one.
    """

    limits: ServerLimits

    def dispatch(self, request: Request) -> object:
        """Called once per request when its head is complete. Gives a `Response`, `str`, `bytes`, an
        awaitable that results in one, or any other value for `into_response`."""

    def into_response(self, request: Request, value: object) -> Response:
        """The response for a value that is no `Response`, `str` or `bytes`."""

    def on_error(self, request: Request, error: BaseException) -> Response | Awaitable[Response]:
        """The response for whatever `dispatch`, its coroutine or `into_response` raised."""
