"""JSON Schemas of parameters, bodies and responses."""

from __future__ import annotations

import inspect
from typing import Any

from ember.binding.parameters import REQUIRED, Parameter
from ember.openapi.components import REF_TEMPLATE, Components, Schema
from ember.routing.router import RouteError
from ember.schema import SchemaError, codec_for
from ember.schema.annotations import fields_of, needs_pydantic


def value_schema(annotation: Any, components: Components) -> Schema:
    """The schema of a value of `annotation` in a response; `{}` (anything) if it is not known."""
    try:
        if needs_pydantic(annotation):
            return components.add(*_serialized(annotation))
        return components.add(*codec_for(annotation).json_schema(REF_TEMPLATE))
    except (SchemaError, NotImplementedError):
        return {}


def _serialized(annotation: Any) -> tuple[Schema, dict[str, Schema]]:
    """The schema of pydantic's output, with computed fields and serialization aliases. If there are
    none, that of its input: so a model is one component of the document."""
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
    """Whether the output and input schemas of a model are equal, except that output has every
    field, and decimals as text."""
    if isinstance(written, dict) and isinstance(read, dict):
        options = read.get("anyOf")
        if "anyOf" not in written and options and options[0] == {"type": "number"}:
            # A Decimal: as input it may be a number too.
            read = {**options[-1], **{k: v for k, v in read.items() if k != "anyOf"}}
        keys = (written.keys() | read.keys()) - {"required"}
        return all(k in written and k in read and _alike(written[k], read[k]) for k in keys)
    if isinstance(written, list) and isinstance(read, list):
        written = [part for part in written if part != {"type": "number"}]
        read = [part for part in read if part != {"type": "number"}]
        return len(written) == len(read) and all(map(_alike, written, read))
    return bool(written == read)


def parameter_schema(parameter: Parameter, components: Components) -> Schema:
    """The schema of `parameter`, with its default, title and examples.

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
    """`schema` without the values that names and text cannot have: null, and an empty list."""
    schema = _decimal_as_text(without_null(schema))
    if schema.get("type") == "array" and parameter.required:
        schema.setdefault("minItems", 1)
    return schema


def _decimal_as_text(schema: Schema) -> Schema:
    """The schema of a Decimal in text, without the number of JSON."""
    options = schema.get("anyOf", ())
    if len(options) == 2 and options[0].get("type") == "number" and "pattern" in options[1]:
        about = {key: value for key, value in schema.items() if key != "anyOf"}
        # The bounds are beside `anyOf`.
        return {**options[1], **about}
    if isinstance(schema.get("items"), dict):
        return {**schema, "items": _decimal_as_text(schema["items"])}
    return schema


def without_null(schema: Schema) -> Schema:
    """A copy that does not allow null: in a query or a form the name is left out instead."""
    kinds = schema.get("anyOf")
    if not isinstance(kinds, list):
        return dict(schema)
    kept = [kind for kind in kinds if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]
    return {**kept[0], **rest} if len(kept) == 1 else {**rest, "anyOf": kept}


def described(schema: Schema, parameter: Parameter, components: Components) -> Schema:
    """`schema` with the title, examples and default from the signature and the marker."""
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
    """A default as JSON; None if it has no JSON form."""
    import msgspec

    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError, RecursionError):
        dump = getattr(value, "model_dump", None)
        return dump(mode="json") if dump is not None else None


def field_schemas(parameter: Parameter, components: Components) -> dict[str, Schema]:
    """The schemas of the fields of a data class, by their names in the request, for a query, header
    or cookie: with default, bounds and description."""
    schema, named = parameter.schema(REF_TEMPLATE)
    whole = named.get(str(schema.get("$ref")).rpartition("/")[2], schema)
    properties = whole.get("properties", {})
    result = {}
    for field in fields_of(parameter.type):
        found = without_null(properties.get(field.alias, {}))
        # Only the schemas that it refers to: the class itself is not a schema of the document.
        found = dict(components.add(found, _reachable(found, named)))
        found.pop("title", None)
        result[field.alias] = _decimal_as_text(found)
    return result


def _reachable(schema: Any, named: dict[str, Schema]) -> dict[str, Schema]:
    """The `named` schemas that `schema` refers to, directly or indirectly."""
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
    """Returns (first paragraph, rest) of a docstring. OpenAPI reads them as Markdown."""
    text = inspect.getdoc(handler) or ""
    if not hasattr(handler, "__name__") and not isinstance(handler, type):
        # The docstring of an object is that of its class: use that of `__call__`.
        text = inspect.getdoc(type(handler).__call__) or ""
    head, _, rest = text.partition("\n\n")
    return " ".join(head.split()), rest.strip()
