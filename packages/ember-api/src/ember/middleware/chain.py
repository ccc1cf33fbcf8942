"""Middlewares and endpoint hooks: chains of functions around a handler, made when a route is
compiled.

A chain has a list of functions that run before the handler and a list of functions that run after
it. A wrapper (`async def m(request, call_next)`) splits the chain: each chain ends at the next
wrapper or at the handler. The compiled build uses the types of `chain.pxd`; the pure build runs
this file as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from ember.middleware.flow import Flow, Plan
from ember.request import Request
from ember.response import Response
from ember.responses.conversion import convert
from ember.routing.dispatch import Endpoint
from ember.routing.middleware_spec import MiddlewareSpec
from ember.routing.route import Route

if TYPE_CHECKING:
    from ember.routing.interfaces import Scope

logger = logging.getLogger("ember.error")

Next = Callable[[Request], Awaitable[Response]]
#: Makes the response for an error: `Ember.on_error`.
OnError = Callable[[Request, BaseException], "Response | Awaitable[Response]"]
Owned = tuple[Callable[..., Any], str]

# The phases of a flow. It waits for: nothing yet, a function before, the handler or the wrapper, a
# function after, the result of on_error.
_START, _BEFORE, _INSIDE, _AFTER, _ERROR = range(5)

#: The type of coroutines. Comparing the type is faster than hasattr(value, "__await__").
_coroutine: type = CoroutineType


class Hooks(NamedTuple):
    """The hooks around an endpoint in the order in which they run. Each has its name in
    messages."""

    before: tuple[Owned, ...] = ()
    after: tuple[Owned, ...] = ()


class Chain(Plan):
    """The functions before and after a handler, or before and after a wrapper.

    If a function before returns a response, or fails, the chain unwinds from there: only the
    functions after that are further out run. An error becomes the response of `on_error` at once,
    so that everything outside sees a response.
    """

    def __init__(
        self, segment: Sequence[tuple[bool, Owned]], owner: str, on_error: OnError, outermost: bool
    ) -> None:
        #: In the order in which they run.
        self.befores = tuple(function for is_after, (function, _) in segment if not is_after)
        self.before_owners = tuple(name for is_after, (_, name) in segment if not is_after)
        afters = [owned for is_after, owned in segment if is_after][::-1]
        self.afters = tuple(function for function, _ in afters)
        self.after_owners = tuple(name for _, name in afters)
        #: For each function before: the index of the first of `afters` that is further out.
        self.unwind_from: list[int] = []
        further_out = len(afters)
        for is_after, _ in segment:
            if is_after:
                further_out -= 1
            else:
                self.unwind_from.append(further_out)
        #: How messages name the handler or wrapper.
        self.owner = owner
        self.on_error = on_error
        #: The wrapper, and its `call_next`, which starts the next chain.
        self.wrapper: Callable[..., Any] | None = None
        self.call_next: Next | None = None
        #: Without a wrapper, the handler: an endpoint, or a function of the request.
        self.endpoint: Endpoint | None = None
        self.call: Callable[[Request], object] | None = None
        #: No function needs the response: what the handler returns or raises goes to the server
        #: unchanged.
        self.bare = outermost and not self.afters
        #: No function outside can change the response, so it needs no copy.
        self.last = outermost and not self.afters

    def enter(self, request: Request, values: list[Any] | None) -> object:
        """Run the outermost chain; the dispatcher calls it. Returns a response or an awaitable.

        The functions before run during this call, up to the first that has to be awaited.
        """
        if self.bare:
            for at, before in enumerate(self.befores):
                value = before(request)
                if value is not None:
                    return self.early(request, values, at, value)
            return self.inside(request, values)
        flow = Flow.__new__(Flow)
        flow.plan = self
        flow.request = request
        flow.values = values
        return flow if self.advance(flow, None, None) else flow.response

    def early(self, request: Request, values: list[Any] | None, at: int, value: Any) -> object:
        """The result of `enter` when a function before returned `value` and no function after
        runs."""
        if type(value) is not _coroutine and not hasattr(value, "__await__"):
            return convert(value, 0, self.before_owners[at])
        flow = Flow.__new__(Flow)
        flow.plan = self
        flow.request = request
        flow.values = values
        flow.at = at
        flow.phase = _BEFORE
        flow.inner = value if type(value) is _coroutine else value.__await__()
        return flow

    def start(self, request: Request) -> Flow:
        """`call_next` of the wrapper outside: awaiting it gives a response, also after an error."""
        flow = Flow.__new__(Flow)
        flow.plan = self
        flow.request = request
        return flow

    def inside(self, request: Request, values: list[Any] | None) -> object:
        """Call the handler or the wrapper. `values` are those of the path parameters; None if only
        the request has them."""
        if self.wrapper is not None:
            return self.wrapper(request, self.call_next)
        endpoint = self.endpoint
        if endpoint is None:
            assert self.call is not None
            return self.call(request)
        names = endpoint.names
        if names:
            # A middleware may have changed them.
            params = request.path_params
            if values is None:
                values = list(names)
            for at, name in enumerate(names):
                values[at] = params[name]
        return endpoint.run(request, values if values is not None else [])

    def advance(self, flow: Flow, value: Any, error: BaseException | None) -> bool:
        """Continue after an awaitable has ended. All steps of a request are here."""
        phase = flow.phase
        if phase == _INSIDE and type(value) is Response and not self.bare:  # as wrappers mostly do
            flow.response = value if self.last else value.copy()
            return self.go_out(flow)
        if phase == _START or (phase == _BEFORE and error is None and value is None):
            try:
                value = self.go_in(flow, flow.at if phase == _START else flow.at + 1)
                if self.waits(flow, value):
                    return True
            except Exception as failure:  # noqa: BLE001 - on_error handles every error
                return self.failed(flow, failure)
        elif phase == _ERROR:
            if error is not None:
                logger.error(
                    "the error handler failed while answering %r", flow.request, exc_info=error
                )
                value = Response("Internal Server Error", 500)
            flow.response = value.copy()
            flow.phase = _AFTER
            return self.go_out(flow)
        elif error is not None:
            return self.failed(flow, error)
        if flow.phase == _INSIDE and self.bare:
            flow.response = value
            return False
        return self.resolve(flow, value)

    def go_in(self, flow: Flow, at: int) -> object:
        """Run the functions before, from number `at`, then the handler or wrapper.

        Stops at the first function that returns something, and returns that."""
        request = flow.request
        befores = self.befores
        flow.phase = _BEFORE
        while at < len(befores):
            flow.at = at
            value: object = befores[at](request)
            if value is not None:
                return value
            at += 1
        flow.phase = _INSIDE
        return self.inside(request, flow.values)

    def waits(self, flow: Flow, value: Any) -> bool:
        """Whether `value` is awaitable. If it is, the flow awaits it."""
        if type(value) is _coroutine:
            flow.inner = value
            return True
        if value is None or not hasattr(value, "__await__"):
            return False
        flow.inner = value.__await__()
        return True

    def resolve(self, flow: Flow, value: Any) -> bool:
        """Make the response from what a function before, the handler or a function after
        returned."""
        phase = flow.phase
        try:
            if phase == _AFTER:
                if value is not None and value is not flow.response:
                    flow.response = respond(value, self.after_owners[flow.at - 1])
            elif phase == _BEFORE:
                flow.response = respond(value, self.before_owners[flow.at])
            elif value is None and self.wrapper is not None:
                raise TypeError(f"{self.owner} returned None; return the response of call_next")
            else:
                flow.response = respond(value, self.owner)
        except Exception as failure:  # noqa: BLE001 - as in advance
            return self.failed(flow, failure)
        return self.go_out(flow)

    def failed(self, flow: Flow, error: BaseException) -> bool:
        """Make the response for an error. It is called inside `except`: error handlers can use
        sys.exception().

        If on_error itself fails, the response is a plain 500, as the connection sends it.
        """
        self.unwind(flow)
        try:
            response: Any = self.on_error(flow.request, error)
            if not isinstance(response, Response) and self.waits(flow, response):
                flow.phase = _ERROR
                return True
        except Exception:
            logger.exception("the error handler failed while answering %r", flow.request)
            response = Response("Internal Server Error", 500)
        flow.response = response.copy()
        return self.go_out(flow)

    def unwind(self, flow: Flow) -> None:
        """Begin to run the functions after: from now on `flow.at` is an index of `afters`."""
        if flow.phase == _BEFORE:
            flow.at = self.unwind_from[flow.at]
        elif flow.phase != _AFTER:
            flow.at = 0
        flow.phase = _AFTER

    def go_out(self, flow: Flow) -> bool:
        """Run the remaining functions after."""
        afters = self.afters
        if flow.phase != _AFTER:
            self.unwind(flow)
        while flow.at < len(afters):
            at = flow.at
            flow.at = at + 1
            try:
                value = afters[at](flow.request, flow.response)
                if value is not None:
                    if self.waits(flow, value):
                        return True
                    if value is not flow.response:
                        flow.response = respond(value, self.after_owners[at])
            except Exception as failure:  # noqa: BLE001 - as in advance
                return self.failed(flow, failure)
        return False


def respond(value: Any, owner: str) -> Response:
    """The response for what `owner` returned.

    It is a copy: functions outside may change it, and the application may return the same object
    for another request."""
    response = value if type(value) is Response else convert(value, 0, owner)
    return response.copy() if response is value else response


class Chained(Endpoint):
    """An endpoint with a chain around it."""

    def __init__(self, endpoint: Endpoint, chain: Chain) -> None:
        super().__init__(
            endpoint.route,
            endpoint.handler,
            endpoint.slots,
            endpoint.keywords,
            endpoint.names,
            endpoint.wrapper,
            endpoint.app,
            endpoint.binding,
        )
        self.chain = chain

    def call(self, request: Request, values: list[Any]) -> object:
        """Call the chain, which calls the handler."""
        self.fill(request, values)
        if self.limits is not None:
            request.limits = self.limits
        return self.chain.enter(request, values)


def around_endpoint(
    endpoint: Endpoint, route: Route, parts: tuple[Scope, ...], on_error: OnError, hooks: Hooks
) -> Endpoint:
    """`endpoint` with the middlewares of `parts` (the outermost first) and of `route`, and with
    `hooks`, around it. Returns `endpoint` itself if there are none."""
    specs = [*(spec for part in parts for spec in part.middlewares), *route.middlewares]
    if not specs and not any(hooks):
        return endpoint
    return Chained(endpoint, compose(specs, endpoint, endpoint.owner, on_error, hooks))


def compose(
    specs: Iterable[MiddlewareSpec],
    inside: Endpoint | Callable[[Request], object],
    owner: str,
    on_error: OnError,
    hooks: Hooks = Hooks(),  # noqa: B008 - immutable
) -> Chain:
    """The chain that runs `specs`, then `hooks`, then `inside`."""
    segment: list[tuple[bool, Owned]] = []
    segments = [segment]
    wrappers: list[tuple[Callable[..., Any], str]] = []
    for spec in specs:
        if spec.around is not None:
            wrappers.append((spec.around, spec.owner))
            segment = []
            segments.append(segment)
        if spec.after is not None:
            segment.append((True, (spec.after, spec.owner)))
        if spec.before is not None:
            segment.append((False, (spec.before, spec.owner)))
    segment += [(True, hook) for hook in reversed(hooks.after)]
    segment += [(False, hook) for hook in hooks.before]
    chain = Chain(segments.pop(), owner, on_error, outermost=not wrappers)
    if isinstance(inside, Endpoint):
        chain.endpoint = inside
    else:
        chain.call = inside
    while wrappers:
        wrapper, name = wrappers.pop()
        call_next = chain.start
        chain = Chain(segments.pop(), name, on_error, outermost=False)
        chain.wrapper, chain.call_next = wrapper, call_next
    chain.last = not chain.afters
    return chain
