"""Makes the endpoint of a route, which the dispatcher calls.

The dispatcher calls a handler directly if it takes only the request, path parameters and
components. For other parameters `ember.binding` is used; it is imported only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ember.binding.handler_adapter import adapt_handler, endpoint_wrapper
from ember.concurrency.threads import ThreadPool
from ember.responses.conversion import convert
from ember.routing.dispatch import Endpoint
from ember.routing.route import Route
from ember.routing.router import Converter
from ember.routing.signature import Component, Plan, missing_component

if TYPE_CHECKING:
    from ember.application.components import Components
    from ember.binding import Binding
    from ember.concurrency.background import Pending


def check(route: Route, converters: Mapping[str, Converter], components: Components) -> None:
    """Check the signature of a route's handler, when the route is registered.

    Components, and classes that are defined later in the module, may still be missing.
    Raises RouteError.
    """
    from ember.binding import check_binding

    check_binding(
        route.handler,
        _path_types(route, converters),
        methods=route.methods,
        where=route.owner,
        components=components,
        factories=components.factories,
    )


def make_endpoint(
    app: Any,
    route: Route,
    plan: Plan | None,
    converters: Mapping[str, Converter],
    components: Components,
    overrides: Mapping[Callable[..., Any], Callable[..., Any]],
    pool: Callable[[], ThreadPool],
    pending: Pending,
) -> Endpoint:
    """The endpoint of `route`. Raises RouteError if a component is missing."""
    names = tuple(p.name for p in route.template.parameters)
    if plan is None or plan.asks_for(components.factories):
        binding = _bind(route, converters, components, overrides, pool, pending)
        return Endpoint(route, binding.call, [], (), names, None, app, binding)
    slots: list[Any] = []
    for slot in plan.slots:
        if isinstance(slot, Component):
            try:
                slots.append((components[slot.type],))
            except KeyError:
                raise missing_component(route.owner, slot.name, slot.type) from None
        else:
            slots.append(slot)
    return Endpoint(
        route, route.handler, slots, plan.keywords, names, endpoint_wrapper(route, pool), app
    )


def _bind(
    route: Route,
    converters: Mapping[str, Converter],
    components: Components,
    overrides: Mapping[Callable[..., Any], Callable[..., Any]],
    pool: Callable[[], ThreadPool],
    pending: Pending,
) -> Binding:
    from ember.binding import compile_binding

    async def run_in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await pool().run(function, *args, **kwargs)

    adapter = adapt_handler(route, pool)
    return compile_binding(
        route.handler,
        _path_types(route, converters),
        methods=route.methods,
        where=route.owner,
        components=components,
        factories=components.factories,
        overrides=overrides,
        run_in_thread=run_in_thread,
        adapter=adapter,
        pending=pending,
        respond=lambda value: convert(value, 0, route.owner),
    )


def _path_types(route: Route, converters: Mapping[str, Converter]) -> dict[str, Any]:
    """The type of each path parameter, as the router converts it; Any if it is not known."""
    types: dict[str, Any] = {}
    for parameter in route.template.parameters:
        converter = converters.get(parameter.converter)
        types[parameter.name] = (converter.python_type if converter else None) or Any
    return types
