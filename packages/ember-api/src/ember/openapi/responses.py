"""Describes the responses of a route, from the return annotation and the status."""

from __future__ import annotations

import inspect
import types
from collections import abc
from typing import Any, Literal, Union, get_args, get_origin

from ember.binding.hints import Hints
from ember.binding.parameters import Parameter
from ember.constants import reason
from ember.openapi.components import Components, Schema
from ember.openapi.schemas import value_schema
from ember.response import (
    HTMLResponse,
    JSONResponse,
    ProblemResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
    TextResponse,
)
from ember.routing.route import Route
from ember.routing.router import RouteError
from ember.schema.annotations import bare

#: Means the range "2XX" (OpenAPI 3.1 section 4.8.16).
_ANY_SUCCESS = 2
_STRING: Schema = {"type": "string"}
PROBLEM = "Problem"
VALIDATION_PROBLEM = "ValidationProblem"

#: RFC 9457 section 3.1.
_PROBLEM_SCHEMA: Schema = {
    "title": PROBLEM,
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string", "default": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string", "description": "As the log has it."},
    },
    "required": ["type", "title", "status"],
}
_VALIDATION_SCHEMA: Schema = {
    "title": VALIDATION_PROBLEM,
    "type": "object",
    "description": "Everything that is wrong with the request.",
    "properties": {
        **_PROBLEM_SCHEMA["properties"],
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "loc": {
                        "type": "array",
                        "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                        "description": "Where: path, query, header, cookie or body, then inside.",
                    },
                    "msg": {"type": "string"},
                    "type": {"type": "string"},
                },
                "required": ["loc", "msg", "type"],
            },
        },
    },
    "required": ["type", "title", "status", "errors"],
}


class Responses:
    """Collects the `responses` of one operation."""

    def __init__(self, route: Route, components: Components) -> None:
        self._route = route
        self._components = components
        self._found: dict[str, Schema] = {}

    def describe(self, found: list[Parameter]) -> dict[str, Schema]:
        """The `responses` object."""
        model = getattr(self._route, "response_model", None)
        annotation = model if model is not None else returned(self._route)
        self._annotated(annotation, self._route.status_code)
        if any(p.include_in_schema for p in found):
            self._problem("422", "The request is not valid", VALIDATION_PROBLEM)
        self._problem("default", "An error", PROBLEM)
        return self._found

    def _problem(self, status: str, description: str, name: str) -> None:
        schema = _PROBLEM_SCHEMA if name == PROBLEM else _VALIDATION_SCHEMA
        ref = self._components.add({"$ref": f"#/components/schemas/{name}"}, {name: schema})
        self._found[status] = {
            "description": description,
            "content": {"application/problem+json": {"schema": ref}},
        }

    def _add(self, status: int, kind: str | None, schema: Schema | None) -> None:
        # RFC 9110: these have no content, also if the annotation has a type.
        if status in (204, 304):
            kind = None
        key = "2XX" if status == _ANY_SUCCESS else str(status)
        response = self._found.setdefault(key, {"description": reason(status) or "Response"})
        if kind is None:
            return
        content = response.setdefault("content", {})
        media = content.setdefault(kind, {})
        if schema:
            known = media.get("schema")
            if known is None or known == schema:
                media["schema"] = schema
            elif "anyOf" in known and schema not in known["anyOf"]:
                known["anyOf"].append(schema)
            elif "anyOf" not in known:
                media["schema"] = {"anyOf": [known, schema]}

    # -- by annotation ------------------------------------------------------------------------

    def _annotated(self, annotation: Any, status: int | None) -> None:
        if annotation is inspect.Signature.empty or annotation is Any or annotation is object:
            self._add(status or 200, None, None)
            return
        parts = bare(annotation)
        if parts.type is None or parts.type is type(None):
            self._add(status or 204, None, None)
            return
        if parts.optional:
            self._add(status or 204, None, None)
        origin = get_origin(parts.type)
        if origin is Union or origin is types.UnionType:
            self._union(get_args(parts.type), status)
        elif origin is tuple:
            self._tuple(get_args(parts.type), status)
        elif isinstance(parts.type, type) and issubclass(parts.type, Response):
            self._response(parts.type, status)
        elif _is_stream(origin or parts.type):
            self._add(status or 200, "application/octet-stream", None)
        elif parts.type is str:
            self._add(status or 200, "text/plain", _STRING)
        elif parts.type in (bytes, bytearray, memoryview):
            self._add(status or 200, "application/octet-stream", None)
        else:
            # The type with its metadata, but without None.
            shown = parts.type if parts.optional else annotation
            self._add(status or 200, "application/json", value_schema(shown, self._components))

    def _union(self, members: tuple[Any, ...], status: int | None) -> None:
        """Describe each member; members that are JSON together, so that they have one schema."""
        data = [m for m in members if _is_json(m)]
        if data:
            self._annotated_json(data, status)
        for member in members:
            if member not in data:
                self._annotated(member, status)

    def _annotated_json(self, members: list[Any], status: int | None) -> None:
        union: Any = Union[tuple(members)]  # noqa: UP007 - made from a tuple
        schema = value_schema(union, self._components)
        # No library can describe Structs and models in one union.
        schemas = [schema] if schema else [value_schema(m, self._components) for m in members]
        for each in schemas:
            self._add(status or 200, "application/json", each)

    def _tuple(self, args: tuple[Any, ...], status: int | None) -> None:
        """(body, status[, headers])."""
        if len(args) not in (2, 3) or args[1] is ...:
            self._add(status or 200, None, None)
            return
        declared = args[1]
        codes = [c for c in get_args(declared) if isinstance(c, int)]
        if get_origin(declared) is Literal and codes:
            for code in codes:
                self._annotated(args[0], code)
        else:
            # Only the handler knows the status.
            self._annotated(args[0], _ANY_SUCCESS)

    def _response(self, cls: type[Response], status: int | None) -> None:
        code = status or 200
        kind = getattr(cls, "media_type", None)
        if issubclass(cls, RedirectResponse):
            self._add(status or 302, None, None)
            location = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
            self._found[str(status or 302)]["headers"] = location
        elif issubclass(cls, ProblemResponse):
            return  # `default` describes it
        elif cls.__name__ == "SSEResponse" or cls.__module__ == "ember.responses.sse":
            self._add(code, "text/event-stream", None)
        elif issubclass(cls, HTMLResponse):
            self._add(code, "text/html", _STRING)
        elif issubclass(cls, TextResponse):
            self._add(code, "text/plain", _STRING)
        elif issubclass(cls, JSONResponse):
            self._add(code, "application/json", None)
        elif issubclass(cls, StreamingResponse):
            self._add(code, "*/*", None)  # the type is its content_type=
        elif cls.__module__ == "ember.responses.files":
            self._add(code, "*/*", None)  # the type depends on the file name
        else:
            self._add(code, kind if isinstance(kind, str) else None, None)


def returned(route: Route) -> Any:
    """The return annotation of the handler; `empty` if there is none or it cannot be resolved."""
    try:
        annotation = inspect.signature(route.handler).return_annotation
    except (TypeError, ValueError):
        return inspect.Signature.empty
    if annotation is inspect.Signature.empty:
        return annotation
    stand_in = inspect.Parameter("result", inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    try:
        return Hints(route.handler, route.owner).of(stand_in)
    except RouteError:
        # It is not needed to serve the route, unlike that of a parameter.
        return inspect.Signature.empty


def _is_stream(cls: Any) -> bool:
    return cls in (abc.AsyncIterator, abc.AsyncGenerator, abc.AsyncIterable)


def _is_json(annotation: Any) -> bool:
    parts = bare(annotation)
    kind = get_origin(parts.type) or parts.type
    if kind in (None, type(None), Any, str, bytes, bytearray, memoryview, tuple):
        return False
    if kind is Union or kind is types.UnionType or _is_stream(kind):
        return False
    return not (isinstance(kind, type) and issubclass(kind, Response))
