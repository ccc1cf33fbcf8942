"""Which endpoint answers a request target.

`Router` holds one segment tree per method and one flat dict keyed by the start of the request line.
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
    """What the router leads to. `owner` is how messages name it: `GET /users/{id} (app.show)`."""

    @property
    def owner(self) -> str: ...


def add_converter(
    converters: dict[str, Converter],
    name: str,
    regex: str,
    to_python: Callable[[str], Any],
    to_url: Callable[[Any], str] = str,
) -> None:
    """Add a converter to a table; a name that is taken or a regex that is none is a RouteError."""
    if not _CONVERTER_NAME.fullmatch(name):
        raise RouteError(f'converter "{name}": a name consists of letters, digits and "_"')
    if name in converters:
        raise RouteError(f'converter "{name}" exists already; choose another name')
    try:
        converters[name] = CustomConverter(name, regex, to_python, to_url)
    except re.error as error:
        raise RouteError(f'converter "{name}": {regex!r} is not a regex: {error}') from None


class Router:
    """Static routes by one dict look-up on `"GET /path"`, all others by a tree per method."""

    def __init__(self, converters: dict[str, Converter]) -> None:
        self.converters = converters
        #: `"GET /path"`, the path percent-encoded as clients send it, to its endpoint.
        self.exact: dict[str, Any] = {}
        #: Method to its tree.
        self.trees: dict[str, Node] = {}
        #: Method and literal text up to a last segment with a parameter, `"GET /i/"`, to the node
        #: there. What it finds a search from the root would find first, because at every segment
        #: literal text goes before parameters.
        self.prefixes: dict[str, Node] = {}

    def add(self, method: str, template: Template, endpoint: Endpoint) -> None:
        """Lead `method` on `template` to `endpoint`; a route that cannot work is a RouteError."""
        template.resolve(self.converters)
        node = self.trees.setdefault(method, Node()).insert(template, self.converters)
        if node.endpoint is not None:
            raise RouteError(
                f"{node.endpoint.owner} and {endpoint.owner} answer the same requests; "
                f"remove one of them or change its path or method"
            )
        node.endpoint = endpoint
        self._index(method, template, endpoint)

    def _index(self, method: str, template: Template, endpoint: Endpoint) -> None:
        """Enter a route where one look-up finds it, if its shape allows that."""
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

    def answer_head(self, template: Template, endpoint: Endpoint) -> None:
        """Let HEAD on `template` be answered by GET's `endpoint`, where nothing else answers it."""
        node = self.trees.setdefault("HEAD", Node()).insert(template, self.converters)
        if node.endpoint is None:
            node.endpoint = endpoint
            self._index("HEAD", template, endpoint)

    def find(self, method: str, path: str, values: list[Any]) -> Any:
        """The endpoint for a decoded path, or None; its parameters' values go into `values`."""
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
        """The methods that a decoded path has, as `Allow` lists them; empty when it is not
        found."""
        methods = [method for method, tree in self.trees.items() if tree.find(path, 1, [])]
        return sorted({*methods, "OPTIONS"}) if methods else []
