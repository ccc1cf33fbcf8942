"""The segment tree: finds the endpoint for a path, and the values of its parameters.

The compiled build uses the types of `tree.pxd`; the pure build runs this file as it is. At each
segment the search tries literal text first, then text mixed with parameters, then converters from
the strictest to `str`, then a converter that spans slashes. So the order of registration does not
matter. The work of a search is limited by the routes, not by the path, and no path is cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ember.routing.converters import Converter
from ember.routing.mixed import MixedSegment
from ember.routing.quoting import ENCODED_SLASH
from ember.routing.template import Template

# The kinds of edges. `str` and `int` are converted here, without a call of the converter.
_STR, _INT, _CONVERTER, _MIXED = 0, 1, 2, 3


class Edge:
    """Leads from a node to the next one over a segment with parameters."""

    def __init__(self, kind: int, key: str, order: tuple[int, int], child: Node) -> None:
        self.kind = kind
        self.key = key
        self.order = order
        self.child = child
        self.converter: Converter | None = None
        self.mixed: MixedSegment | None = None

    def consume(self, path: str, start: int, stop: int, values: list[Any]) -> bool:
        """Append the values of `path[start:stop]` to `values`. Returns False if it does not
        match."""
        kind = self.kind
        if kind == _STR:
            if start == stop:
                return False
            values.append(path[start:stop])
            return True
        if kind == _INT and 0 < stop - start < 18:
            number = 0
            index = start
            negative = path[start] == "-"
            if negative:
                index += 1
                if index == stop:
                    return False
            while index < stop:
                letter = path[index]
                if letter < "0" or letter > "9":
                    return False
                number = number * 10 + (ord(letter) - 48)
                index += 1
            values.append(-number if negative else number)
            return True
        return self.convert(path[start:stop], values)

    def convert(self, text: str, values: list[Any]) -> bool:
        """`consume` with a converter or a mixed segment."""
        if ENCODED_SLASH in text:
            text = text.replace(ENCODED_SLASH, "/")
        try:
            if self.mixed is None:
                assert self.converter is not None
                values.append(self.converter.convert(text))
                return True
            parts = self.mixed.split(text)
            if parts is None:
                return False
            # A list, not a loop of appends: a converter may refuse its part.
            values += [
                converter.convert(part)
                for converter, part in zip(self.mixed.converters, parts, strict=True)
            ]
        except ValueError:
            return False
        return True


class Node:
    """A node of the tree; its depth is the number of segments before it."""

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.edges: list[Edge] = []
        #: The node after a parameter that spans slashes.
        self.tail: Node | None = None
        #: The endpoint for a path that ends here.
        self.endpoint: Any = None

    def find(self, path: str, start: int, values: list[Any]) -> Any:
        """The endpoint for `path[start:]`, or None. Appends the values of parameters to
        `values`."""
        end = path.find("/", start)
        stop = len(path) if end < 0 else end
        count = len(values)
        if self.static:
            child = self.static.get(path[start:stop])
            if child is not None:
                found = child.endpoint if end < 0 else child.find(path, end + 1, values)
                if found is not None:
                    return found
        for edge in self.edges:
            if edge.consume(path, start, stop, values):
                child = edge.child
                found = child.endpoint if end < 0 else child.find(path, end + 1, values)
                if found is not None:
                    return found
            del values[count:]
        if self.tail is not None:
            return self.find_tail(path, start, values)
        return None

    def last(self, path: str, start: int, values: list[Any]) -> Any:
        """`find` if `path[start:]` is one segment, which a parameter fills."""
        for edge in self.edges:
            if edge.child.endpoint is not None and edge.consume(path, start, len(path), values):
                return edge.child.endpoint
        return None

    def find_tail(self, path: str, start: int, values: list[Any]) -> Any:
        """`find` for a parameter that spans slashes. It takes as many segments as possible."""
        tail = self.tail
        assert tail is not None
        count = len(values)
        if tail.static or tail.edges:
            end = path.rfind("/", start)
            while end >= 0:
                # The text is copied once, when the rest has matched, not for each slash.
                values.append(None)
                found = tail.find(path, end + 1, values)
                if found is not None:
                    values[count] = path[start:end]
                    return found
                del values[count:]
                end = path.rfind("/", start, end)
        if tail.endpoint is not None:
            values.append(path[start:])
        return tail.endpoint

    def insert(self, template: Template, converters: Mapping[str, Converter]) -> Node:
        """The node at the end of `template`. Missing nodes are made."""
        node = self
        for segment in template.segments:
            first = segment[0]
            if len(segment) > 1:
                node = node._mixed(segment, converters)
            elif isinstance(first, str):
                node = node.static.setdefault(first, Node())
            else:
                node = node._single(converters[first.converter])
        return node

    def _single(self, converter: Converter) -> Node:
        if converter.spans:
            if self.tail is None:
                self.tail = Node()
            return self.tail
        kind = {"str": _STR, "int": _INT}.get(converter.name, _CONVERTER)
        edge = self._edge(kind, converter.name, (converter.order, 0))
        edge.converter = converter
        return edge.child

    def _mixed(self, segment: list[Any], converters: Mapping[str, Converter]) -> Node:
        mixed = MixedSegment(segment, dict(converters))
        literal = sum(map(len, mixed.literals))
        edge = self._edge(_MIXED, mixed.key, (0, -literal))
        edge.mixed = mixed
        return edge.child

    def _edge(self, kind: int, key: str, order: tuple[int, int]) -> Edge:
        for edge in self.edges:
            if edge.key == key:
                return edge
        edge = Edge(kind, key, order, Node())
        self.edges.append(edge)
        self.edges.sort(key=_by_order)
        return edge


def _by_order(edge: Edge) -> tuple[int, int]:
    return edge.order
