"""From what a handler asks for to one flat call, compiled when the application starts.

`compile_binding` reads the signature of a handler and of everything it depends on, and writes a
function that takes the values out of a request, validates them, and calls. A request is never
looked at by anything more general than that function. A mistake in a signature is a RouteError that
names route, handler and parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ember.binding.analysis import Shelf
    from ember.binding.faults import InvalidRequest as InvalidRequest
    from ember.binding.hints import UnresolvedAnnotation as UnresolvedAnnotation
    from ember.binding.overrides import Overrides as Overrides
    from ember.binding.parameters import Parameter as Parameter
    from ember.concurrency.background import Pending
    from ember.response import Response

__all__ = [
    "Binding",
    "InvalidRequest",
    "Overrides",
    "Parameter",
    "UnresolvedAnnotation",
    "check_binding",
    "compile_binding",
]

# The analysis and the generator take 0.5 MiB of memory. An application whose handlers ask for no
# more than the request, path parameters and components does without them.
_HOMES = {
    "InvalidRequest": "ember.binding.faults",
    "Overrides": "ember.binding.overrides",
    "Parameter": "ember.binding.parameters",
    "UnresolvedAnnotation": "ember.binding.hints",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


class Binding:
    """How one handler is called.

    - `call(request, values)` calls it; `values` are those of the path parameters, in the path's
      order. With `needs_await` it is a coroutine function; otherwise it gives what the handler
      gives.
    - `parameters`: what the request brings, for whoever documents it.
    - `source`: the generated Python.

    Raises InvalidRequest (422), BadRequest (400), UnsupportedMediaType (415).
    """

    __slots__ = ("call", "dependencies", "needs_await", "parameters", "source", "wants_request")

    def __init__(
        self,
        call: Callable[..., Any],
        source: str,
        needs_await: bool,
        parameters: tuple[Parameter, ...],
        dependencies: tuple[Callable[..., Any], ...],
        wants_request: bool,
    ) -> None:
        self.call = call
        self.source = source
        self.needs_await = needs_await
        self.parameters = parameters
        #: every function that is called for the handler
        self.dependencies = dependencies
        #: whether the handler, or one of them, sees the request
        self.wants_request = wants_request


def compile_binding(
    handler: Callable[..., Any],
    path_params: Mapping[str, Any] | Iterable[str] = (),
    *,
    methods: Iterable[str] = ("GET",),
    where: str = "",
    components: Shelf | None = None,
    factories: Mapping[type, Callable[..., Any]] | None = None,
    overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    run_in_thread: Callable[..., Any] | None = None,
    target: Callable[..., Any] | None = None,
    target_awaits: bool = True,
    pending: Pending | None = None,
    respond: Callable[[Any], Response] | None = None,
) -> Binding:
    """The plan for `handler`.

    - `path_params`: names in the order of the path, or with the type that the router gives for each
      (default str).
    - `where`: how messages name the route and its handler.
    - `components`: shared objects by type; `factories`: what makes one for each request.
    - `overrides`: dependencies to replace, as tests do.
    - `run_in_thread(function, *args, **kwargs)`: awaitable; plain functions among the dependencies
      go through it. Without it they run on the loop.
    - `target(request, ...)`: what is called in the place of `handler`, with the request and its
      arguments; `target_awaits`: whether that gives an awaitable.
    - `pending`: is told of work that follows the answer.
    - `respond`: makes the response of what the handler returned, where dependencies are left after
      it; without it that is left to the caller.

    Raises RouteError for a signature that cannot be filled; UnresolvedAnnotation, a kind of it, for
    a name in an annotation that does not exist yet.
    """
    from ember.binding.analysis import Analysis
    from ember.binding.hints import function_kind
    from ember.binding.parameters import ASYNC_GENERATOR, INLINE, THREAD
    from ember.binding.source import Source

    shared: Shelf = {} if components is None else components
    path = path_params if isinstance(path_params, Mapping) else dict.fromkeys(path_params, str)
    analysis = Analysis(
        where or getattr(handler, "__qualname__", repr(handler)),
        path,
        tuple(methods),
        lambda cls: cls in shared,
        factories or {},
        overrides or {},
        run_in_thread is not None,
    )
    arguments = analysis.arguments(handler)
    kind = function_kind(handler, False)
    if target is not None:
        kind = THREAD if target_awaits else INLINE
    source = Source(
        target or handler,
        arguments,
        kind=kind,
        path=path,
        component=analysis.component(shared),
        run_in_thread=run_in_thread,
        pending=pending,
        respond=respond,
        streams=function_kind(handler, False) == ASYNC_GENERATOR,
        given_request=target is not None,
    )
    call, text = source.compile()
    return Binding(
        call,
        text,
        source.needs_await,
        source.parameters,
        tuple(c.function for c in source.calls),
        source.wants_request,
    )


def check_binding(
    handler: Callable[..., Any],
    path_params: Mapping[str, Any],
    *,
    methods: Iterable[str],
    where: str,
    components: Shelf,
    factories: Mapping[type, Callable[..., Any]],
) -> None:
    """Look for mistakes that are certain before the application starts; arguments as above.

    Also remembers what the annotations mean where the handler is defined inside a function that
    still runs. Raises RouteError.
    """
    from contextlib import suppress

    from ember.binding.analysis import Analysis
    from ember.binding.hints import UnresolvedAnnotation

    analysis = Analysis(
        where,
        path_params,
        tuple(methods),
        components.__contains__,
        factories,
        {},
        False,
        final=False,
    )
    # A class that is defined further down is looked up again at start.
    with suppress(UnresolvedAnnotation):
        analysis.arguments(handler)
