"""The arguments of a handler and their sources: a tree, from which the binding is generated."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ember.schema import Codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.binding.markers import Marker

#: The default of a parameter that has none.
REQUIRED: Any = inspect.Parameter.empty


class Parameter:
    """One value that the request brings. The same codec validates and documents it.

    - `name`: the name of the parameter; `alias`: the name in the request.
    - `source`: "path", "query", "header", "cookie", "body", "form" or "file".
    - `annotation`, `optional` (whether None is a value), `required`, `default`, `constraints`.
    - `many`: whether all values of the name are collected in a list. `fields`: whether the value is
      a data class and each field has a name of its own in the request.
    """

    __slots__ = (
        "alias",
        "annotation",
        "codec",
        "constraints",
        "default",
        "default_factory",
        "deprecated",
        "description",
        "embed",
        "examples",
        "fields",
        "include_in_schema",
        "many",
        "media_type",
        "name",
        "optional",
        "owner",
        "required",
        "source",
        "title",
        "type",
    )

    def __init__(
        self,
        name: str,
        source: str,
        alias: str,
        annotation: Any,
        type: Any,
        codec: Codec,
        default: Any,
        marker: Marker | None,
        owner: str,
    ) -> None:
        self.name = name
        self.source = source
        self.alias = alias
        self.annotation = annotation
        #: The annotation without None and metadata.
        self.type = type
        self.codec = codec
        self.default = default
        self.owner = owner
        self.optional = False
        self.many = False
        self.fields = False
        self.default_factory = marker.default_factory if marker else None
        self.required = default is REQUIRED and self.default_factory is None
        self.constraints: dict[str, Any] = dict(marker.constraints) if marker else {}
        self.title = marker.title if marker else None
        self.description = marker.description if marker else None
        self.examples = marker.examples if marker else None
        self.deprecated = marker.deprecated if marker else False
        self.include_in_schema = marker.include_in_schema if marker else True
        self.embed = marker.embed if marker else False
        self.media_type = marker.media_type if marker else None

    @property
    def loc(self) -> list[Any]:
        """The location that errors of this parameter have."""
        if self.source in ("form", "file"):
            return ["body", self.alias]
        if self.fields or self.source == "body":
            return [self.source]
        return [self.source, self.alias]

    def schema(
        self, ref_template: str = "#/components/schemas/{name}"
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Its JSON Schema, and the named schemas that it refers to."""
        if self.source == "file":
            # As OpenAPI 3.1 describes a part of a multipart form.
            file = {"type": "string", "contentMediaType": "application/octet-stream"}
            return ({"type": "array", "items": file} if self.many else file), {}
        return self.codec.json_schema(ref_template)

    def __repr__(self) -> str:
        return f"<{self.source} parameter {self.alias!r} of {self.owner}>"


class RequestArgument:
    """An argument that the framework gives: `what` is "request" or "background"."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class ComponentArgument:
    """An argument that is the component of a type. `name` is that of the parameter."""

    __slots__ = ("name", "type")

    def __init__(self, type: type, name: str) -> None:
        self.type = type
        self.name = name


class Constant:
    """An argument that is always the default of the parameter."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


#: The kinds of functions: what they return, and where they run.
ASYNC, INLINE, THREAD, ASYNC_GENERATOR, GENERATOR, THREAD_GENERATOR, FACTORY = range(7)


class Call:
    """A dependency: a function and its arguments.

    The kind `FACTORY` makes a per-request component, which is closed after the request. `scope`:
    "function" if the dependency ends before the response is sent, else "request".
    """

    __slots__ = ("arguments", "function", "kind", "name", "scope")

    def __init__(self, function: Callable[..., Any], name: str, kind: int, scope: str) -> None:
        self.function = function
        self.name = name
        self.kind = kind
        self.scope = scope
        self.arguments: list[Argument] = []

    @property
    def needs_cleanup(self) -> bool:
        """Whether the dependency has to be ended or closed after the request."""
        return self.kind >= ASYNC_GENERATOR

    @property
    def awaits(self) -> bool:
        """Whether the call needs an `await`."""
        return self.kind != INLINE


#: When a dependency ends: before the response is sent, or after.
FUNCTION, REQUEST = "function", "request"

Source = Parameter | RequestArgument | ComponentArgument | Constant | Call


class Argument:
    """One argument of a function and its source. `keyword`: it is passed by name."""

    __slots__ = ("keyword", "name", "source")

    def __init__(self, name: str, source: Source, keyword: bool) -> None:
        self.name = name
        self.source = source
        self.keyword = keyword


def walk(arguments: list[Argument]) -> list[Parameter]:
    """All values that the request brings: those of dependencies first, each dependency once."""
    found: list[Parameter] = []
    seen: set[int] = set()

    def visit(items: list[Argument]) -> None:
        own: list[Parameter] = []
        for argument in items:
            source = argument.source
            if isinstance(source, Call):
                if id(source) not in seen:
                    seen.add(id(source))
                    visit(source.arguments)
            elif isinstance(source, Parameter):
                own.append(source)
        found.extend(own)

    visit(arguments)
    return found
