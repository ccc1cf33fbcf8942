"""Middlewares and the hooks of endpoints: one flat plan per route, made when the application
starts.

What stands around a handler is a list of functions before it and a list after it. A wrapper
(`async def m(request, call_next)`) cuts them: each chain reaches to the next wrapper or to the
handler. Compiled with the types of `chain.pxd`; without a compiler this file runs as it stands.
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
from ember.routing.middleware_spec import Step
from ember.routing.route import Route

if TYPE_CHECKING:
    from ember.routing.interfaces import Scope

logger = logging.getLogger("ember.error")

Next = Callable[[Request], Awaitable[Response]]
#: What makes the response of an error: `Ember.on_error`.
OnError = Callable[[Request, BaseException], "Response | Awaitable[Response]"]
Owned = tuple[Callable[..., Any], str]

# What a flow waits for: nothing yet, a function before, the handler or the wrapper, a function
# after, what on_error gave.
_START, _BEFORE, _INSIDE, _AFTER, _ERROR = range(5)

#: A coroutine of Python's own is known by its type alone, which is faster than asking it.
_coroutine: type = CoroutineType


class Hooks(NamedTuple):
    """The hooks around an endpoint, each with how messages name it, in the order of running."""

    before: tuple[Owned, ...] = ()
    after: tuple[Owned, ...] = ()


class Chain(Plan):
    """The functions before and after one thing: a handler, or a wrapper and all that is inside.

    A function before that answers, or fails, turns around where it stands: the functions after
    that are further out still run. Whatever fails is answered by `on_error` on the spot, so that
    what is outside of it sees a Response.
    """

    def __init__(
        self, pieces: Sequence[tuple[bool, Owned]], owner: str, on_error: OnError, outermost: bool
    ) -> None:
        #: In the order of running.
        self.befores = tuple(function for is_after, (function, _) in pieces if not is_after)
        self.before_owners = tuple(name for is_after, (_, name) in pieces if not is_after)
        afters = [owned for is_after, owned in pieces if is_after][::-1]
        self.afters = tuple(function for function, _ in afters)
        self.after_owners = tuple(name for _, name in afters)
        #: For each function before, the first of `afters` that is further out.
        self.turns: list[int] = []
        turn = len(afters)
        for is_after, _ in pieces:
            if is_after:
                turn -= 1
            else:
                self.turns.append(turn)
        #: How messages name what is inside.
        self.owner = owner
        self.on_error = on_error
        #: A wrapper, and what calls the next chain for it.
        self.wrapper: Callable[..., Any] | None = None
        self.call_next: Next | None = None
        #: Or the handler: an endpoint, or a function of the request.
        self.endpoint: Endpoint | None = None
        self.call: Callable[[Request], object] | None = None
        #: Nobody but the server sees what the handler gives or raises: it goes there as it is.
        self.bare = outermost and not self.afters
        #: Nobody changes the response of what is inside.
        self.last = outermost and not self.afters

    def enter(self, request: Request, values: list[Any] | None) -> object:
        """The outermost chain, called by the dispatcher: an awaitable, or what is there at once.

        The functions before run here and now, up to the first that has to be awaited.
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
        """`enter`, where a function before gave something and there is none after."""
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
        """`call_next` of the wrapper around: a Response when it is awaited, whatever happens."""
        flow = Flow.__new__(Flow)
        flow.plan = self
        flow.request = request
        return flow

    def inside(self, request: Request, values: list[Any] | None) -> object:
        """Call what is inside; `values` are the path's, None where only the request has them."""
        if self.wrapper is not None:
            return self.wrapper(request, self.call_next)
        endpoint = self.endpoint
        if endpoint is None:
            assert self.call is not None
            return self.call(request)
        names = endpoint.names
        if names:
            # What a middleware has put there counts.
            params = request.path_params
            if values is None:
                values = list(names)
            for at, name in enumerate(names):
                values[at] = params[name]
        return endpoint.run(request, values if values is not None else [])

    def advance(self, flow: Flow, value: Any, error: BaseException | None) -> bool:
        """Go on after what was awaited; the whole of a request's way is here."""
        phase = flow.phase
        if phase == _INSIDE and type(value) is Response and not self.bare:  # as wrappers mostly do
            flow.response = value if self.last else value.copy()
            return self.go_out(flow)
        if phase == _START or (phase == _BEFORE and error is None and value is None):
            try:
                value = self.go_in(flow, flow.at if phase == _START else flow.at + 1)
                if self.waits(flow, value):
                    return True
            except Exception as failure:  # noqa: BLE001 - whatever it is, on_error answers it
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
        return self.settled(flow, value)

    def go_in(self, flow: Flow, at: int) -> object:
        """Run the functions before, from number `at`, and what is inside; stops at the first that
        gives something, and gives that."""
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
        """Whether `value` has to be awaited; the flow does so then."""
        if type(value) is _coroutine:
            flow.inner = value
            return True
        if value is None or not hasattr(value, "__await__"):
            return False
        flow.inner = value.__await__()
        return True

    def settled(self, flow: Flow, value: Any) -> bool:
        """Make the response of what a function before, the handler, or a function after gave."""
        phase = flow.phase
        try:
            if phase == _AFTER:
                if value is not None and value is not flow.response:
                    flow.response = respond(value, self.after_owners[flow.at - 1])
            elif phase == _BEFORE:
                flow.response = respond(value, self.before_owners[flow.at])
            elif value is None and self.wrapper is not None:
                raise TypeError(f"{self.owner} returned None; return what call_next(request) gave")
            else:
                flow.response = respond(value, self.owner)
        except Exception as failure:  # noqa: BLE001 - as in advance
            return self.failed(flow, failure)
        return self.go_out(flow)

    def failed(self, flow: Flow, error: BaseException) -> bool:
        """Have an error answered; called while it is handled, so that the handler can ask for it.

        Where on_error itself fails there is a bare 500, as the connection gives one.
        """
        self.turn(flow)
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

    def turn(self, flow: Flow) -> None:
        """From now on `at` counts the functions after."""
        if flow.phase == _BEFORE:
            flow.at = self.turns[flow.at]
        elif flow.phase != _AFTER:
            flow.at = 0
        flow.phase = _AFTER

    def go_out(self, flow: Flow) -> bool:
        """Run the functions after that are left."""
        afters = self.afters
        if flow.phase != _AFTER:
            self.turn(flow)
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
    """The Response for what `owner` returned. It is for one request alone, as what is outside of it
    may change it: the application may keep its own and return it again."""
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
    """`endpoint` with everything that `parts`, the outermost first, and `route` have around it, and
    with `hooks`; itself when that is nothing."""
    steps = [*(step for part in parts for step in part.middlewares), *route.middlewares]
    if not steps and not any(hooks):
        return endpoint
    return Chained(endpoint, compose(steps, endpoint, endpoint.owner, on_error, hooks))


def compose(
    steps: Iterable[Step],
    inside: Endpoint | Callable[[Request], object],
    owner: str,
    on_error: OnError,
    hooks: Hooks = Hooks(),  # noqa: B008 - immutable
) -> Chain:
    """The chain that runs `steps`, `hooks` and `inside`, from the outside in."""
    stretch: list[tuple[bool, Owned]] = []
    stretches = [stretch]
    wrappers: list[tuple[Callable[..., Any], str]] = []
    for step in steps:
        if step.around is not None:
            wrappers.append((step.around, step.owner))
            stretch = []
            stretches.append(stretch)
        if step.after is not None:
            stretch.append((True, (step.after, step.owner)))
        if step.before is not None:
            stretch.append((False, (step.before, step.owner)))
    stretch += [(True, hook) for hook in reversed(hooks.after)]
    stretch += [(False, hook) for hook in hooks.before]
    chain = Chain(stretches.pop(), owner, on_error, outermost=not wrappers)
    if isinstance(inside, Endpoint):
        chain.endpoint = inside
    else:
        chain.call = inside
    while wrappers:
        wrapper, name = wrappers.pop()
        call_next = chain.start
        chain = Chain(stretches.pop(), name, on_error, outermost=False)
        chain.wrapper, chain.call_next = wrapper, call_next
    chain.last = not chain.afters
    return chain
