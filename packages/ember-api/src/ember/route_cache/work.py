"""One call of the handler, for all requests that wait for the same response."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

from ember._interrupts import from_signal
from ember.cache import Lifetime
from ember.exceptions import ServiceUnavailable
from ember.request import Request
from ember.response import Response
from ember.responses.conversion import convert
from ember.route_cache.stored_response import StoredResponse

if TYPE_CHECKING:
    from ember.cache.policy import Decision
    from ember.route_cache.wire import Wire
    from ember.routing.cache_counters import Counters
    from ember.routing.dispatch import Endpoint

log = logging.getLogger("ember.cache")

#: The result of a call whose key has changed meanwhile (Vary): the caller tries again.
ASK_AGAIN = object()

#: The tasks of running handlers. They need a reference, or they could be garbage-collected.
_running: set[asyncio.Task[None]] = set()


class _Route(Protocol):
    """The parts of a cached route that the work uses."""

    app: Any
    endpoint: Endpoint
    owner: str
    label: str
    counters: Counters
    vary: tuple[str, ...]
    wire: Wire

    def decide(self, request: Request, response: Response) -> Decision | None:
        """Whether and for how long `response` is stored; None: it is not stored."""


class Work:
    """The call of the handler for one request: `run` and `admit` are passed to `cache.fetch`, which
    calls them unless another request is calling the handler."""

    __slots__ = ("_lifetime", "_request", "_route", "_values", "_vary", "ran", "response")

    def __init__(self, route: _Route, request: Request, values: list[Any]) -> None:
        self._route = route
        self._request = request
        self._values = values
        self._vary = route.vary
        self._lifetime: Lifetime | None = None
        #: The handler was called for this request.
        self.ran = False
        #: The response of the handler, if it was not stored.
        self.response: Response | None = None

    async def run(self) -> Any:
        """Call the handler. Returns the value to store, or a response that is not stored, or
        ASK_AGAIN."""
        route = self._route
        if self._vary is not route.vary:
            return ASK_AGAIN
        self.ran = True
        request = copy(self._request)
        try:
            response = await in_task(route, request, self._values)
        except Exception:
            route.counters.errors += 1
            raise
        decision = route.decide(request, response)
        if decision is None:
            route.counters.refused += 1
            return response
        # The response comes first, then the settings of the cache; must-revalidate forbids both.
        self._lifetime = Lifetime(
            decision.lifetime,
            _window(decision.stale_while_revalidate, decision.strict),
            _window(decision.stale_if_error, decision.strict),
            decision.age,
        )
        route.counters.stored += 1
        return route.wire.pack(StoredResponse.of(response, decision, route.label, self._vary))

    def admit(self, value: Any) -> Lifetime | None:
        """For how long the result of `run` is stored; None: it is not stored, and it is for this
        request alone."""
        return self._lifetime


def _window(said: float, strict: bool) -> float | None:
    return 0.0 if strict else said or None


async def in_task(route: _Route, request: Request, values: list[Any]) -> Response:
    """The response of the handler, which runs in a task of its own.

    The callbacks of `request.after_response` run in that task too, after the response was made;
    nobody waits for them. Cancelling this cancels the task. The time limit of the route starts
    here.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Response] = loop.create_future()

    async def handle() -> Response:
        value = route.endpoint.call(request, values)
        if hasattr(value, "__await__"):
            value = await value
        return value if isinstance(value, Response) else convert(value, 0, route.owner)

    async def work(outcome: asyncio.Future[Response]) -> None:
        seconds = request.limits.timeout
        if seconds is None:
            seconds = route.app.limits.request_timeout
        try:
            if seconds is None:
                response = await handle()
            else:
                response = await _within(seconds, handle)
        except BaseException as error:
            # Every error goes to the requests that wait: SystemExit would end the loop here.
            if from_signal(error) or isinstance(error, asyncio.CancelledError):
                raise
            if not outcome.done():
                outcome.set_exception(error)
        else:
            if not outcome.done():
                outcome.set_result(response)
        finally:
            outcome.cancel()
            del outcome  # breaks a reference cycle: outcome, error, traceback, this frame
            await _after(request)

    task = loop.create_task(work(outcome), name=f"ember.cache {route.owner}")
    _running.add(task)
    task.add_done_callback(_running.discard)
    try:
        return await outcome
    finally:
        if not outcome.done() or outcome.cancelled():
            task.cancel()
        del outcome


async def _within(seconds: float, handle: Callable[[], Awaitable[Response]]) -> Response:
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await handle()
    except TimeoutError:
        if deadline.expired():
            raise ServiceUnavailable("the request took too long") from None
        raise


async def _after(request: Request) -> None:
    callbacks = request._after or []
    before = _cancels()
    while callbacks:
        try:
            await callbacks.pop(0)()
        except BaseException as error:
            if from_signal(error) or _cancels() > before:
                raise
            log.exception("a callback after the response to %r failed", request)


def _cancels() -> int:
    """How often this task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
