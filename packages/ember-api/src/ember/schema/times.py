"""What msgspec leaves out of its JSON Schemas: that a text is a time or a date and a time, which
durations it takes, and that a Decimal may be a number.

It names a format only where the time zone is fixed, since RFC 3339 demands one. We take both, and
say so: a reader of the schema wants to know that not any text will do.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect

Schema = dict[str, Any]

#: The local time of RFC 3339 section 5.6, with an offset or without.
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?$"

#: ISO 8601 without years, months and weeks, with a sign and with fractions of a second.
DURATION = (
    r"^[+-]?P(?=[0-9T])([0-9]{1,8}D)?"
    r"(T(?=[0-9])([0-9]{1,8}H)?([0-9]{1,8}M)?([0-9]{1,8}(\.[0-9]{1,9})?S)?)?$"
)

_WITH_FIELDS = (
    inspect.StructType,
    inspect.DataclassType,
    inspect.TypedDictType,
    inspect.NamedTupleType,
)


_TEXTS = (
    inspect.DateTimeType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.DecimalType,
)


def name_times(schema: Schema, annotation: Any, named: dict[str, Schema]) -> None:
    """Add to `schema` and to the `named` ones that it refers to, in place."""
    _walk(schema, inspect.type_info(annotation), named, set())


def _walk(schema: Any, info: inspect.Type, named: dict[str, Schema], seen: set[str]) -> None:
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in seen or name not in named:
            return
        seen.add(name)
        schema = named[name]
    if isinstance(info, inspect.Metadata):
        _walk(schema, info.type, named, seen)
    elif isinstance(info, inspect.DateTimeType):
        schema.setdefault("format", "date-time")
    elif isinstance(info, inspect.TimeType):
        if "format" not in schema:
            schema.setdefault("pattern", TIME)
    elif isinstance(info, inspect.TimeDeltaType):
        schema.pop("format", None)
        schema["pattern"] = DURATION
    elif isinstance(info, inspect.DecimalType):
        text = {key: schema.pop(key) for key in ("type", "format") if key in schema}
        if text:
            schema["anyOf"] = [{"type": "number"}, text]
    elif isinstance(info, inspect.UnionType):
        _walk_union(schema, info, named, seen)
    elif isinstance(info, _WITH_FIELDS):
        properties = schema.get("properties", {})
        for field in info.fields:
            _walk(properties.get(field.encode_name), field.type, named, seen)
    elif isinstance(info, inspect.DictType):
        _walk(schema.get("additionalProperties"), info.value_type, named, seen)
    elif isinstance(info, inspect.TupleType):
        for item, kind in zip(schema.get("prefixItems", ()), info.item_types, strict=False):
            _walk(item, kind, named, seen)
    elif isinstance(info, inspect.CollectionType):
        _walk(schema.get("items"), info.item_type, named, seen)


def _walk_union(
    schema: Schema, info: inspect.UnionType, named: dict[str, Schema], seen: set[str]
) -> None:
    options = schema.get("anyOf")
    if not isinstance(options, list):
        return
    members = [m.type if isinstance(m, inspect.Metadata) else m for m in info.types]
    for member in members:
        if isinstance(member, _TEXTS):
            # A union has one type that comes as text, so that this is it.
            for option in options:
                if option.get("type") == "string":
                    _walk(option, member, named, seen)
    others = [option for option in options if option.get("type") not in ("string", "null")]
    kinds = [m for m in members if isinstance(m, (*_WITH_FIELDS, inspect.CollectionType))]
    if len(others) == len(kinds):
        for option, kind in zip(others, kinds, strict=True):
            _walk(option, kind, named, seen)
