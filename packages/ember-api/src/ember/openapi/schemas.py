"""JSON Schemas of parameters, bodies and answers."""

from __future__ import annotations

import inspect
from typing import Any

from ember.binding.parameters import REQUIRED, Parameter
from ember.openapi.components import REF_TEMPLATE, Components, Schema
from ember.router import RouteError
from ember.schema import SchemaError, codec_for
from ember.schema.annotations import bare, needs_pydantic


def value_schema(annotation: Any, components: Components) -> Schema:
    """What goes out for a value of `annotation`; `{}`, which is anything, where that is unknown."""
    try:
        if needs_pydantic(annotation):
            return components.add(*_serialized(annotation))
        return components.add(*codec_for(annotation).json_schema(REF_TEMPLATE))
    except (SchemaError, NotImplementedError):
        return {}


def _serialized(annotation: Any) -> tuple[Schema, dict[str, Schema]]:
    """As pydantic writes it: with computed fields and serialization aliases."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        schema = adapter.json_schema(
            ref_template=REF_TEMPLATE.replace("{name}", "{model}"), mode="serialization"
        )
    except PydanticUserError as error:
        raise SchemaError(str(error)) from None
    named = schema.pop("$defs", {})
    name = schema.get("title") if schema.get("type") == "object" else None
    if name is not None and name not in named:
        named[name] = schema
        schema = {"$ref": REF_TEMPLATE.format(name=name)}
    return schema, named


def parameter_schema(parameter: Parameter, components: Components) -> Schema:
    """What `parameter` takes, with its default, title and examples.

    Raises RouteError for an annotation that has no JSON Schema.
    """
    try:
        schema = components.add(*parameter.schema(REF_TEMPLATE))
    except (SchemaError, NotImplementedError) as error:
        raise RouteError(
            f'{parameter.owner}: parameter "{parameter.name}" has no JSON Schema: {error}; '
            f"give it include_in_schema=False, or leave the route out of the document"
        ) from None
    if parameter.source != "body":
        schema = _as_text(schema, parameter)
    return described(schema, parameter, components)


def _as_text(schema: Schema, parameter: Parameter) -> Schema:
    """`schema` without what names and text cannot say: null, and a list of nothing."""
    schema = without_null(schema)
    if schema.get("type") == "array" and parameter.required:
        schema.setdefault("minItems", 1)
    return schema


def without_null(schema: Schema) -> Schema:
    """A copy that does not take null; left away is what stands for it in a query or a form."""
    kinds = schema.get("anyOf")
    if not isinstance(kinds, list):
        return dict(schema)
    kept = [kind for kind in kinds if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]
    return {**kept[0], **rest} if len(kept) == 1 else {**rest, "anyOf": kept}


def described(schema: Schema, parameter: Parameter, components: Components) -> Schema:
    """`schema` with what the signature and the marker say about the value."""
    schema = dict(schema)
    if parameter.title:
        schema["title"] = parameter.title
    if parameter.examples and parameter.source in ("body", "form", "file"):
        schema["examples"] = list(parameter.examples)
    if parameter.default is not REQUIRED and parameter.default is not None:
        default = plain(parameter.default)
        if default is not None:
            schema["default"] = default
    return schema


def plain(value: Any) -> Any:
    """A default as JSON would have it; None for what has no such form."""
    import msgspec

    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError, RecursionError):
        dump = getattr(value, "model_dump", None)
        return dump(mode="json") if dump is not None else None


def field_schema(annotation: Any, default: Any, components: Components) -> Schema:
    """One field of a data class that is a name of its own in a query, header or cookie."""
    parts = bare(annotation)
    schema = value_schema(annotation if not parts.optional else parts.type, components)
    if default is not ... and default is not None:
        known = plain(default)
        if known is not None:
            schema = {**schema, "default": known}
    return schema


def documentation(handler: Any) -> tuple[str, str]:
    """(the first line, the rest) of a docstring; Markdown, as OpenAPI has it."""
    text = inspect.getdoc(handler) or ""
    if not hasattr(handler, "__name__") and not isinstance(handler, type):
        # Of an object its class's docstring describes the class.
        text = inspect.getdoc(type(handler).__call__) or ""
    head, _, rest = text.partition("\n\n")
    return " ".join(head.split()), rest.strip()
