"""Describes the request of a route: parameters by source, and the body by content type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ember.binding.analysis import Analysis
from ember.binding.parameters import Parameter, walk
from ember.openapi.components import Components, Schema
from ember.openapi.schemas import described, field_schemas, parameter_schema, without_null
from ember.routing.route import Route
from ember.schema.annotations import Field, Kind, bare, fields_of, is_upload, kind_of

if TYPE_CHECKING:
    from ember.openapi.interfaces import DescribedApp

JSON = "application/json"
MSGPACK = "application/msgpack"
URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
OCTETS = "application/octet-stream"
FILE: Schema = {"type": "string", "format": "binary", "contentMediaType": OCTETS}


def parameters_of(app: DescribedApp, route: Route) -> list[Parameter]:
    """The parameters of the handler of `route` and of its dependencies."""
    analysis = Analysis(
        route.owner,
        path_types(app, route),
        route.methods,
        app.components.__contains__,
        app.components.factories,
        {},
        False,
        # Start hooks may add more components.
        final=False,
    )
    found = walk(analysis.arguments(route.handler))
    if {"GET", "HEAD"}.issuperset(route.methods):
        found = [p for p in found if p.source != "body"]
    return found


def path_types(app: DescribedApp, route: Route) -> dict[str, Any]:
    """The type of each path parameter, as the router converts it."""
    types: dict[str, Any] = {}
    for parameter in route.template.parameters:
        converter = app._converters.get(parameter.converter)
        types[parameter.name] = (converter.python_type if converter else None) or Any
    return types


# -- path, query, header, cookie ------------------------------------------------------------------


def describe_parameters(
    app: DescribedApp, route: Route, found: list[Parameter], components: Components
) -> list[Schema]:
    """The `parameters` of an operation: path parameters first, each name once for each source."""
    result: dict[tuple[str, str], Schema] = {}
    for name, schema in _path(app, route, found, components).items():
        result["path", name] = schema
    for parameter in found:
        if parameter.source not in ("query", "header", "cookie"):
            continue
        if not parameter.include_in_schema:
            continue
        for item in _named(parameter, components):
            result.setdefault((item["in"], item["name"].lower()), item)
    return list(result.values())


def _path(
    app: DescribedApp, route: Route, found: list[Parameter], components: Components
) -> dict[str, Schema]:
    """All parameters of the template, also those that the handler does not use."""
    asked = {p.alias: p for p in found if p.source == "path"}
    asked |= {p.name: p for p in found if p.source == "path" and p.alias == p.name}
    result = {}
    for part in route.template.parameters:
        item: Schema = {"name": part.name, "in": "path", "required": True}
        parameter = asked.get(part.name)
        schema: Schema = {}
        if parameter is not None:
            schema = parameter_schema(parameter, components)
            _about(item, parameter)
        item["schema"] = schema or _converted(app, part.converter)
        result[part.name] = item
    return result


def _converted(app: DescribedApp, name: str) -> Schema:
    """The schema of a path converter, for a parameter without annotation."""
    known: dict[str, Schema] = {
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "uuid": {"type": "string", "format": "uuid"},
    }
    if name in known:
        return known[name]
    if name in ("str", "path"):
        return {"type": "string"}
    converter = app._converters.get(name)
    return {"type": "string"} if converter is None else {"type": "string", "title": converter.name}


def _about(item: Schema, parameter: Parameter) -> None:
    if parameter.description:
        item["description"] = parameter.description
    if parameter.deprecated:
        item["deprecated"] = True
    if parameter.examples:
        item["examples"] = _numbered(parameter.examples)


def _named(parameter: Parameter, components: Components) -> list[Schema]:
    if not parameter.fields:
        item: Schema = {
            "name": parameter.alias,
            "in": parameter.source,
            "required": parameter.required,
            "schema": parameter_schema(parameter, components),
        }
        _about(item, parameter)
        return [item]
    header = parameter.source == "header"
    schemas = field_schemas(parameter, components)
    result = []
    for field in fields_of(parameter.type):
        schema = schemas[field.alias]
        item = {
            "name": field.alias.replace("_", "-") if header else field.alias,
            "in": parameter.source,
            "required": field.required and parameter.required,
            "schema": schema,
        }
        # The description of the field becomes that of the parameter.
        for key in ("description", "deprecated"):
            if key in schema:
                item[key] = schema.pop(key)
        if schema.get("examples"):
            item["examples"] = _numbered(schema.pop("examples"))
        result.append(item)
    return result


def _numbered(examples: list[Any]) -> Schema:
    return {f"example {number}": {"value": value} for number, value in enumerate(examples, 1)}


# -- the body -------------------------------------------------------------------------------------


def describe_body(found: list[Parameter], components: Components) -> Schema | None:
    """The `requestBody` of an operation; None if it has no body."""
    form = [p for p in found if p.source in ("form", "file")]
    body = [p for p in found if p.source == "body" and p.include_in_schema]
    if form:
        return _form([p for p in form if p.include_in_schema], components)
    if not body:
        return None
    single = body[0] if len(body) == 1 and not body[0].embed else None
    if single is None:
        schema = _object(
            {p.alias: parameter_schema(p, components) for p in body},
            [p.alias for p in body if p.required],
        )
        return _content(schema, [JSON, MSGPACK], any(p.required for p in body), None)
    if single.type in (bytes, bytearray):
        return _content({}, ["*/*"], single.required, single)
    schema = parameter_schema(single, components)
    if single.media_type is not None:
        return _content(schema, [single.media_type], single.required, single)
    fields = fields_of(single.type)
    if _has_files(fields):
        return _content(schema, [MULTIPART], single.required, single)
    result = _content(schema, [JSON, MSGPACK], single.required, single)
    nullable = bare(single.annotation).optional
    if fields and not nullable and all(_is_flat(field.type) for field in fields):
        media = {"schema": _form_of(schema, components)}
        result["content"] |= {kind: dict(media) for kind in (URL_ENCODED, MULTIPART)}
    return result


def _has_files(fields: list[Field]) -> bool:
    return any(is_upload(bare(field.type).type) for field in fields)


def _is_flat(annotation: Any) -> bool:
    """Whether a form, which has only names and text, can represent it."""
    return kind_of(bare(annotation).type) is Kind.SCALAR


def _form_of(schema: Schema, components: Components) -> Schema:
    """The schema of an object in a form: without null. An empty text, which browsers send for an
    empty field, counts as a missing value."""
    named = components.schemas.get(str(schema.get("$ref")).rpartition("/")[2], schema)
    properties = named.get("properties", {})
    changed = {name: without_null(value) for name, value in properties.items()}
    for name, value in changed.items():
        if name not in named.get("required", ()) and _is_special_text(value):
            about: Schema = {
                k: value.pop(k) for k in ("title", "description", "default") if k in value
            }
            changed[name] = {**about, "anyOf": [value, {"type": "string", "maxLength": 0}]}
    return schema if changed == properties else {**named, "properties": changed}


def _is_special_text(schema: Schema) -> bool:
    """Whether the schema restricts text."""
    options = [schema, *schema.get("anyOf", ())]
    return any({"format", "pattern"} & option.keys() for option in options)


def _form(parameters: list[Parameter], components: Components) -> Schema:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    whole: list[Schema] = []
    for parameter in parameters:
        if parameter.fields:
            whole.append(parameter_schema(parameter, components))
            continue
        properties[parameter.alias] = _form_value(parameter, components)
        if parameter.description:
            properties[parameter.alias]["description"] = parameter.description
        if parameter.required:
            required.append(parameter.alias)
    schema = _object(properties, required)
    if whole:
        schema = whole[0] if len(whole) == 1 and not properties else {"allOf": [*whole, schema]}
    files = any(p.source == "file" or _has_files(fields_of(p.type)) for p in parameters)
    kinds = [MULTIPART] if files else [URL_ENCODED, MULTIPART]
    return _content(schema, kinds, any(p.required for p in parameters), None)


def _form_value(parameter: Parameter, components: Components) -> Schema:
    if parameter.source != "file":
        return parameter_schema(parameter, components)
    schema: Schema = {"type": "array", "items": dict(FILE)} if parameter.many else dict(FILE)
    if parameter.many and parameter.required:
        schema["minItems"] = 1
    return described(schema, parameter, components)


def _object(properties: dict[str, Schema], required: list[str]) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def _content(
    schema: Schema, kinds: list[str], required: bool, parameter: Parameter | None
) -> Schema:
    media = {"schema": schema} if schema else {}
    body: Schema = {"content": {kind: dict(media) for kind in kinds}, "required": required}
    if parameter is not None and parameter.description:
        body["description"] = parameter.description
    return body
