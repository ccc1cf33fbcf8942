"""Binding: the parameters of a handler are filled by a function that is generated at start.

`compile_binding` reads the signature of a handler and of its dependencies. It generates the Python
source of one function, which reads the values from a request, validates them and calls the handler.
No other code reads the request for the handler. A mistake in a signature is a RouteError; it names
the route, the handler and the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ember.binding.analysis import Registry
    from ember.binding.errors import InvalidRequest as InvalidRequest
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
    "InvalidRequest": "ember.binding.errors",
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
    """The generated function that calls one handler.

    - `call(request, values)` calls the handler. `values` are the values of the path parameters, in
      the order of the path. It is a coroutine function if `needs_await` is True; otherwise it
      returns what the handler returns.
    - `parameters`: the values that the request brings; OpenAPI documents them.
    - `source`: the generated Python source.

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
        #: The functions of all dependencies, direct and indirect.
        self.dependencies = dependencies
        #: Whether the handler, or one of its dependencies, gets the request.
        self.wants_request = wants_request


def compile_binding(
    handler: Callable[..., Any],
    path_params: Mapping[str, Any] | Iterable[str] = (),
    *,
    methods: Iterable[str] = ("GET",),
    where: str = "",
    components: Registry | None = None,
    factories: Mapping[type, Callable[..., Any]] | None = None,
    overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    run_in_thread: Callable[..., Any] | None = None,
    adapter: Callable[..., Any] | None = None,
    adapter_awaits: bool = True,
    pending: Pending | None = None,
    respond: Callable[[Any], Response] | None = None,
) -> Binding:
    """Generate the binding of `handler`.

    - `path_params`: the names of the path parameters, in the order of the path; or a mapping from
      name to the type that the router converts to (default str).
    - `where`: how messages name the route and its handler.
    - `components`: shared objects by type. `factories`: functions that make a component for each
      request, by type.
    - `overrides`: replacements of dependencies, for tests.
    - `run_in_thread(function, *args, **kwargs)`: returns an awaitable. It runs the dependencies
      that are plain functions. Without it they run on the loop.
    - `adapter(request, ...)`: is called instead of `handler`, with the request and the arguments of
      the handler. `adapter_awaits`: whether it returns an awaitable.
    - `pending`: counts the work that runs after the response.
    - `respond`: makes the response from what the handler returned, if dependencies have to be
      closed after it. Without it the caller makes the response.

    Raises RouteError if a parameter cannot be filled, and its subclass UnresolvedAnnotation if an
    annotation uses a name that does not exist yet.
    """
    from ember.binding.analysis import Analysis
    from ember.binding.hints import function_kind
    from ember.binding.parameters import ASYNC_GENERATOR, INLINE, THREAD
    from ember.binding.source import Source

    shared: Registry = {} if components is None else components
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
    if adapter is not None:
        kind = THREAD if adapter_awaits else INLINE
    source = Source(
        adapter or handler,
        arguments,
        kind=kind,
        path=path,
        component=analysis.component(shared),
        run_in_thread=run_in_thread,
        pending=pending,
        respond=respond,
        streams=function_kind(handler, False) == ASYNC_GENERATOR,
        passes_request=adapter is not None,
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
    components: Registry,
    factories: Mapping[type, Callable[..., Any]],
) -> None:
    """Report the mistakes that can be found before the application starts.

    The arguments are those of `compile_binding`. If the handler is defined inside a function, the
    names in its annotations are also looked up and remembered, while that function still runs.
    Raises RouteError.
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
    # A class that is defined later in the module is looked up again at start.
    with suppress(UnresolvedAnnotation):
        analysis.arguments(handler)
