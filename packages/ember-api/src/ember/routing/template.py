"""Route templates: parses `/users/{id:int}` into segments, and builds URLs from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ember.routing.converters import Converter
from ember.routing.quoting import quote_path, quote_segment

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"\{([^{}]*)\}")


class RouteError(Exception):
    """An invalid route. Raised at registration or at start, never while serving."""


class Parameter:
    """One `{name:converter}` of a template."""

    __slots__ = ("converter", "explicit", "name")

    def __init__(self, name: str, converter: str, explicit: bool) -> None:
        self.name = name
        #: The name of the converter. Without one in the template: "str", or by the annotation.
        self.converter = converter
        self.explicit = explicit


class Template:
    """A parsed path: segments of literal text and parameters."""

    __slots__ = ("parameters", "path", "segments")

    def __init__(self, path: str) -> None:
        self.path = path
        #: The segments. Each is a list of literal texts and parameters, usually with one item.
        self.segments: list[list[str | Parameter]] = []
        self.parameters: list[Parameter] = []
        if not path.startswith("/"):
            raise RouteError(f'route "{path}": a path starts with "/"; write "/{path}"')
        if "?" in path or "#" in path:
            raise RouteError(
                f'route "{path}": a path has no query or fragment; '
                f"read query parameters from request.args"
            )
        for text in path[1:].split("/"):
            self.segments.append(self._segment(text))
        names = [p.name for p in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise RouteError(
                    f'route "{path}": parameter "{name}" appears twice; give each its own name'
                )

    def _fail(self, problem: str) -> RouteError:
        return RouteError(f'route "{self.path}": {problem}')

    def _parameter(self, text: str) -> Parameter:
        name, colon, converter = text.partition(":")
        if not _NAME.fullmatch(name):
            raise self._fail(
                f'"{{{text}}}" is not a parameter; write {{name}} or {{name:converter}}, '
                f"where name could be a Python variable"
            )
        if colon and not converter:
            raise self._fail(f'"{{{text}}}" has no converter; write {{{name}}} or {{{name}:int}}')
        parameter = Parameter(name, converter or "str", bool(colon))
        self.parameters.append(parameter)
        return parameter

    def _segment(self, text: str) -> list[str | Parameter]:
        if text.startswith(":"):  # Express writes /users/:id
            if not _NAME.fullmatch(text[1:]):
                raise self._fail(
                    f'"{text}" is not a parameter; write :name, or {{name:converter}} for more'
                )
            return [self._parameter(text[1:])]
        if text.startswith("*"):
            raise self._fail(f'"{text}" is not a wildcard here; write {{rest:path}}')
        parts: list[str | Parameter] = []
        end = 0
        for match in _PARAMETER.finditer(text):
            if match.start() > end:
                parts.append(text[end : match.start()])
            elif parts:
                raise self._fail(f'"{text}": two parameters need some text between them')
            parts.append(self._parameter(match[1]))
            end = match.end()
        if end < len(text) or not text:
            parts.append(text[end:])
        if any("{" in part or "}" in part for part in parts if isinstance(part, str)):
            raise self._fail(f'"{text}": a brace is not closed, or closed twice')
        return parts

    @property
    def static(self) -> bool:
        """Whether it has no parameters."""
        return not self.parameters

    def resolve(self, converters: Mapping[str, Converter]) -> None:
        """Check that each converter exists and is allowed at its place. Raises RouteError."""
        for parameter in self.parameters:
            if parameter.converter not in converters:
                raise self._fail(
                    f'unknown converter "{parameter.converter}"; known: {", ".join(converters)}'
                )
        spanning = [p for p in self.parameters if converters[p.converter].spans]
        if len(spanning) > 1:
            raise self._fail(
                f'"{spanning[0].name}" and "{spanning[1].name}" both span slashes; '
                f"only one parameter of a route can"
            )
        for segment in self.segments:
            if len(segment) > 1 and any(p in segment for p in spanning):
                raise self._fail(
                    f'"{spanning[0].name}" spans slashes, so it needs a segment for itself'
                )

    def build(self, values: Mapping[str, Any], converters: Mapping[str, Converter]) -> str:
        """The path with `values`, percent-encoded. Raises ValueError for a missing, unknown or
        invalid value."""
        known = {p.name for p in self.parameters}
        missing = [p.name for p in self.parameters if p.name not in values]
        extra = [name for name in values if name not in known]
        if missing or extra:
            problems = [f'lacks "{name}"' for name in missing]
            problems += [f'has no parameter "{name}"' for name in extra]
            raise ValueError(f'url_for: route "{self.path}" {" and ".join(problems)}')
        out: list[str] = []
        for segment in self.segments:
            out.append("/")
            for part in segment:
                if isinstance(part, str):
                    out.append(quote_path(part))
                    continue
                converter = converters[part.converter]
                text = converter.to_url(values[part.name])
                try:
                    converter.convert(text)
                except ValueError:
                    raise ValueError(
                        f'url_for: {values[part.name]!r} does not fit "{part.name}" of route '
                        f'"{self.path}" ({converter.name})'
                    ) from None
                out.append(quote_path(text) if converter.spans else quote_segment(text))
        return "".join(out)
