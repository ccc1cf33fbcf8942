"""`Router`: finds the endpoint for a method and a path.

It has one segment tree for each method, and one dict for static paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from ember.routing.converters import Converter, CustomConverter, built_in_converters
from ember.routing.quoting import ENCODED_SLASH, decode_path, quote_path
from ember.routing.template import Parameter, RouteError, Template
from ember.routing.tree import Node

__all__ = [
    "Converter",
    "Endpoint",
    "Parameter",
    "RouteError",
    "Router",
    "Template",
    "add_converter",
    "built_in_converters",
    "decode_path",
]

_CONVERTER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Endpoint(Protocol):
    """The target of a route. `owner` is its name in messages: `GET /users/{id} (app.show)`."""

    @property
    def owner(self) -> str: ...


def add_converter(
    converters: dict[str, Converter],
    name: str,
    regex: str,
    to_python: Callable[[str], Any],
    to_url: Callable[[Any], str] = str,
) -> None:
    """Add a converter to a table. Raises RouteError for a name that is taken or invalid, or an
    invalid regex."""
    if not _CONVERTER_NAME.fullmatch(name):
        raise RouteError(f'converter "{name}": a name consists of letters, digits and "_"')
    if name in converters:
        raise RouteError(f'converter "{name}" exists already; choose another name')
    try:
        converters[name] = CustomConverter(name, regex, to_python, to_url)
    except re.error as error:
        raise RouteError(f'converter "{name}": {regex!r} is not a regex: {error}') from None


class Router:
    """Finds static routes with one dict look-up of `"GET /path"`, all others in a tree."""

    def __init__(self, converters: dict[str, Converter]) -> None:
        self.converters = converters
        #: The endpoints of static routes by `"GET /path"`; the path is percent-encoded.
        self.exact: dict[str, Any] = {}
        #: The trees by method.
        self.trees: dict[str, Node] = {}
        #: A shortcut for routes with a parameter only in the last segment: the node by method and
        #: literal text before it, `"GET /i/"`. A search from the root would find the same node,
        #: because literal text goes before parameters.
        self.prefixes: dict[str, Node] = {}

    def add(self, method: str, template: Template, endpoint: Endpoint) -> None:
        """Add a route. Raises RouteError if it conflicts with another route."""
        template.resolve(self.converters)
        node = self.trees.setdefault(method, Node()).insert(template, self.converters)
        if node.endpoint is not None:
            raise RouteError(
                f"{node.endpoint.owner} and {endpoint.owner} match the same requests; "
                f"remove one of them or change its path or method"
            )
        node.endpoint = endpoint
        self._index(method, template, endpoint)

    def _index(self, method: str, template: Template, endpoint: Endpoint) -> None:
        """Add a route to `exact` or `prefixes`, if it has the right form."""
        if template.static:
            self.exact[f"{method} {quote_path(template.path)}"] = endpoint
            return
        *literals, last = template.segments
        if isinstance(last[0], str) and len(last) == 1:
            return
        prefix = "/"
        node = self.trees[method]
        for segment in literals:
            if len(segment) > 1 or not isinstance(segment[0], str):
                return
            prefix += f"{quote_path(segment[0])}/"
            node = node.static[segment[0]]
        self.prefixes[f"{method} {prefix}"] = node

    def add_head(self, template: Template, endpoint: Endpoint) -> None:
        """Use the GET `endpoint` of `template` for HEAD too, unless HEAD has a route."""
        node = self.trees.setdefault("HEAD", Node()).insert(template, self.converters)
        if node.endpoint is None:
            node.endpoint = endpoint
            self._index("HEAD", template, endpoint)

    def find(self, method: str, path: str, values: list[Any]) -> Any:
        """The endpoint for a decoded path, or None. The values of the path parameters are appended
        to `values`."""
        tree = self.trees.get(method)
        if tree is None:
            return None
        found = tree.find(path, 1, values)
        if found is not None and ENCODED_SLASH in path:
            for index, value in enumerate(values):
                if type(value) is str:
                    values[index] = value.replace(ENCODED_SLASH, "/")
        return found

    def allowed(self, path: str) -> list[str]:
        """The methods of a decoded path, for the `Allow` field; empty if no route has the path."""
        methods = [method for method, tree in self.trees.items() if tree.find(path, 1, [])]
        return sorted({*methods, "OPTIONS"}) if methods else []
