"""The dispatcher: finds the endpoint of a request and calls its handler.

The compiled build uses the types of `dispatch.pxd`. As much as possible is decided at registration:
an `Endpoint` knows how to call its handler, so that a simple handler costs one look-up and one
call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ember.request import Request
from ember.response import Response
from ember.responses.conversion import UnsupportedReturn, convert
from ember.routing.hosts import host_name
from ember.routing.tree import Node

# The kinds of calls, by the arguments of the handler. Only `_ANY` makes a list of arguments.
_NOTHING, _REQUEST, _VALUE, _REQUEST_VALUE, _VALUE_REQUEST, _ANY, _BOUND, _VALUES = range(8)

#: The values for endpoints of static routes. Never changed.
_NO_VALUES: list[Any] = []

#: Calls the handler of a route in another way: (request, args, kwargs) -> result.
Wrapper = Callable[[Request, "tuple[Any, ...]", "dict[str, Any]"], object]


class Endpoint:
    """One compiled route."""

    def __init__(
        self,
        route: Any,
        handler: Callable[..., Any],
        slots: list[Any],
        keywords: tuple[str, ...],
        names: tuple[str, ...],
        wrapper: Wrapper | None,
        app: Any,
        binding: Any = None,
    ) -> None:
        self.route = route
        self.handler = handler
        self.app = app
        self.owner: str = route.owner
        #: The source of each argument: -1: the request; 0 or more: a path parameter; a tuple: its
        #: one item.
        self.slots = slots
        self.keywords = keywords
        self.names = names
        self.wrapper = wrapper
        self.limits = route.limits
        #: The application counts or logs requests: `request.route` has to be set.
        self.has_observer = getattr(app, "observer", None) is not None
        #: The `ember.binding.Binding` of a handler with other parameters. Then `handler` is its
        #: `call`, which takes (request, values).
        self.binding = binding
        wants = -1 in slots or (binding is not None and binding.wants_request)
        # Only the handler and its wrapper see the request: so app, route and path parameters are
        # set only if they use it. `Ember.on_error` sets them for errors.
        self.fills = wants or wrapper is not None
        plain = wrapper is None and self.limits is None and not keywords
        # A component need not be hashable: most data classes are not.
        plain = plain and tuple not in map(type, slots)
        shape = {
            (): _NOTHING,
            (-1,): _REQUEST,
            (0,): _VALUE,
            (-1, 0): _REQUEST_VALUE,
            (0, -1): _VALUE_REQUEST,
        }
        self.kind: int = shape.get(tuple(slots), _ANY) if plain else _ANY
        if plain and len(slots) > 1 and slots == list(range(len(names))):
            self.kind = _VALUES
        if binding is not None:
            self.kind = _BOUND

    def call(self, request: Request, values: list[Any]) -> object:
        """Call the handler. `values` are those of the path parameters, in the order of the path."""
        if self.has_observer:
            request.route = self.route
        kind = self.kind
        if kind == _NOTHING:
            return self.handler()
        if kind == _VALUE:
            return self.handler(values[0])
        if kind == _VALUES:
            return self.handler(*values)
        if self.fills:
            self.fill(request, values)
        if self.limits is not None:
            request.limits = self.limits
        return self.run(request, values)

    def run(self, request: Request, values: list[Any]) -> object:
        """`call` for a request on which `fill` was called."""
        kind = self.kind
        if kind == _NOTHING:
            return self.handler()
        if kind == _REQUEST:
            return self.handler(request)
        if kind == _VALUE:
            return self.handler(values[0])
        if kind == _VALUES:
            return self.handler(*values)
        if kind == _REQUEST_VALUE:
            return self.handler(request, values[0])
        if kind == _VALUE_REQUEST:
            return self.handler(values[0], request)
        if kind == _BOUND:
            return self.handler(request, values)
        return self.call_any(request, values)

    def fill(self, request: Request, values: list[Any]) -> None:
        """Set the app, route and path parameters of the request."""
        request.app = self.app
        request.route = self.route
        if values:
            params: dict[str, Any] = {}
            for index, name in enumerate(self.names):
                params[name] = values[index]
            request.path_params = params

    def call_any(self, request: Request, values: list[Any]) -> object:
        """`run` for any arguments of the handler."""
        arguments: list[Any] = []
        for slot in self.slots:
            if type(slot) is tuple:
                arguments.append(slot[0])
            elif slot < 0:
                arguments.append(request)
            else:
                arguments.append(values[slot])
        if self.wrapper is None and not self.keywords:
            return self.handler(*arguments)
        keywords: dict[str, Any] = {}
        if self.keywords:
            first = len(arguments) - len(self.keywords)
            keywords = dict(zip(self.keywords, arguments[first:], strict=True))
            del arguments[first:]
        if self.wrapper is not None:
            return self.wrapper(request, tuple(arguments), keywords)
        return self.handler(*arguments, **keywords)


#: How many spellings of hosts (with port, in capitals) are remembered.
_MOST_SPELLINGS = 256


class Lookup:
    """The tables of a router that the dispatcher uses; see `ember.routing.router.Router`."""

    def __init__(
        self, exact: dict[str, Any], prefixes: dict[str, Node], trees: dict[str, Node]
    ) -> None:
        self.exact = exact
        self.prefixes = prefixes
        self.trees = trees


class Dispatcher:
    """Finds the endpoint of a request and calls it.

    `refresh` compiles the routes of the application and calls `load`; it runs before the next
    request if `stale` is set. `missed` is called if no route was found. `owner` names the handler
    of a request in messages.
    """

    def __init__(
        self,
        refresh: Callable[[], None],
        missed: Callable[[Request], object],
        owner: Callable[[Request], str],
    ) -> None:
        self.stale = True
        self.general = Lookup({}, {}, {})
        #: The tables by host name; None if no blueprint names hosts.
        self.hosts: dict[str, Lookup] | None = None
        self._spellings: dict[str, Lookup] = {}
        self._refresh = refresh
        self._missed = missed
        self._owner = owner

    def load(self, general: Lookup, hosts: dict[str, Lookup]) -> None:
        """Set the routes: those of `hosts`, and those for all other hosts."""
        self.general = general
        self.hosts = hosts or None
        self._spellings = {}
        self.stale = False

    def at_host(self, host: str) -> Lookup:
        """The routes for a host, as spelled in a request."""
        assert self.hosts is not None
        found = self.hosts.get(host_name(host), self.general)
        if len(self._spellings) < _MOST_SPELLINGS:
            self._spellings[host] = found
        return found

    def dispatch(self, request: Request) -> object:
        """Call the handler for `request` and return its result; of `async def` a coroutine.

        Raises NotFound, MethodNotAllowed or BadRequest if no route matches.
        """
        if self.stale:
            self._refresh()
        routes = self.general
        if self.hosts is not None:
            host = request.host
            found = self._spellings.get(host)
            routes = self.at_host(host) if found is None else found
        key = request.route_key
        endpoint = routes.exact.get(key)
        if endpoint is not None:
            return endpoint.call(request, _NO_VALUES)
        if "%" in key:
            return self._missed(request)
        values: list[Any] = []
        slash = key.rfind("/") + 1
        node = routes.prefixes.get(key[:slash])
        if node is not None:
            endpoint = node.last(key, slash, values)
            if endpoint is not None:
                return endpoint.call(request, values)
        method = request.method
        node = routes.trees.get(method)
        if node is not None:
            endpoint = node.find(key, len(method) + 2, values)
            if endpoint is not None:
                return endpoint.call(request, values)
        return self._missed(request)

    def into_response(self, request: Request, value: object) -> Response:
        """The response for what a handler returned. Raises UnsupportedReturn with its name."""
        try:
            return convert(value, 0, "")
        except UnsupportedReturn as error:
            # The name of the handler is only needed for this error.
            named = UnsupportedReturn(f"{self._owner(request)}{error}")
            raise named from error.__cause__
