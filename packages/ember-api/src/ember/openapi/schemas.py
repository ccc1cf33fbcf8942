"""JSON Schemas of parameters, bodies and answers."""

from __future__ import annotations

import inspect
from typing import Any

from ember.binding.parameters import REQUIRED, Parameter
from ember.openapi.components import REF_TEMPLATE, Components, Schema
from ember.routing.router import RouteError
from ember.schema import SchemaError, codec_for
from ember.schema.annotations import fields_of, needs_pydantic


def value_schema(annotation: Any, components: Components) -> Schema:
    """What goes out for a value of `annotation`; `{}`, which is anything, where that is unknown."""
    try:
        if needs_pydantic(annotation):
            return components.add(*_serialized(annotation))
        return components.add(*codec_for(annotation).json_schema(REF_TEMPLATE))
    except (SchemaError, NotImplementedError):
        return {}


def _serialized(annotation: Any) -> tuple[Schema, dict[str, Schema]]:
    """As pydantic writes it: with computed fields and serialization aliases. Where there are none,
    as it reads it, so that a model is one component of the document."""
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
    read, read_named = codec_for(annotation).json_schema(REF_TEMPLATE)
    for name, body in named.items():
        if _alike(body, read_named.get(name)):
            named[name] = read_named[name]
    return (read if _alike(schema, read) else schema), named


def _alike(written: Any, read: Any) -> bool:
    """Whether two schemas of one model say the same but for what writing always has: every field,
    and decimals as text."""
    if isinstance(written, dict) and isinstance(read, dict):
        options = read.get("anyOf")
        if "anyOf" not in written and options and options[0] == {"type": "number"}:
            # A Decimal: it is read from a number as well.
            read = {**options[-1], **{k: v for k, v in read.items() if k != "anyOf"}}
        keys = (written.keys() | read.keys()) - {"required"}
        return all(k in written and k in read and _alike(written[k], read[k]) for k in keys)
    if isinstance(written, list) and isinstance(read, list):
        written = [part for part in written if part != {"type": "number"}]
        read = [part for part in read if part != {"type": "number"}]
        return len(written) == len(read) and all(map(_alike, written, read))
    return bool(written == read)


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
    schema = _decimal_as_text(without_null(schema))
    if schema.get("type") == "array" and parameter.required:
        schema.setdefault("minItems", 1)
    return schema


def _decimal_as_text(schema: Schema) -> Schema:
    """A Decimal without the number that stands for it in JSON."""
    options = schema.get("anyOf", ())
    if len(options) == 2 and options[0].get("type") == "number" and "pattern" in options[1]:
        about = {key: value for key, value in schema.items() if key != "anyOf"}
        # Bounds are said of the number.
        return {**options[1], **about}
    if isinstance(schema.get("items"), dict):
        return {**schema, "items": _decimal_as_text(schema["items"])}
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


def field_schemas(parameter: Parameter, components: Components) -> dict[str, Schema]:
    """Each field of a data class, by its name on the wire, as a value of its own in a query, header
    or cookie: with its default, its bounds and what is said of it."""
    schema, named = parameter.schema(REF_TEMPLATE)
    whole = named.get(str(schema.get("$ref")).rpartition("/")[2], schema)
    properties = whole.get("properties", {})
    result = {}
    for field in fields_of(parameter.type):
        found = without_null(properties.get(field.alias, {}))
        # Only what it refers to: the class itself is no schema of the document.
        found = dict(components.add(found, _reachable(found, named)))
        found.pop("title", None)
        result[field.alias] = _decimal_as_text(found)
    return result


def _reachable(schema: Any, named: dict[str, Schema]) -> dict[str, Schema]:
    """Those of `named` that `schema` refers to, and that they refer to."""
    found: dict[str, Schema] = {}
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
            name = str(part.get("$ref")).rpartition("/")[2]
            if name in named and name not in found:
                found[name] = named[name]
                waiting.append(named[name])
    return found


def documentation(handler: Any) -> tuple[str, str]:
    """(the first line, the rest) of a docstring; Markdown, as OpenAPI has it."""
    text = inspect.getdoc(handler) or ""
    if not hasattr(handler, "__name__") and not isinstance(handler, type):
        # Of an object its class's docstring describes the class.
        text = inspect.getdoc(type(handler).__call__) or ""
    head, _, rest = text.partition("\n\n")
    return " ".join(head.split()), rest.strip()
