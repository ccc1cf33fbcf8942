"""Adds to the JSON Schemas of msgspec: formats of times, durations, and numbers for Decimal.

msgspec names a format only if the annotation fixes the time zone, since RFC 3339 requires one.
Ember accepts times with and without a time zone, and names the format anyway: readers of the schema
should see that not every text is valid.
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
    """Complete `schema`, and the `named` schemas that it refers to, in place."""
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
            # A union has at most one type that comes as text: this one.
            for option in options:
                if option.get("type") == "string":
                    _walk(option, member, named, seen)
    others = [option for option in options if option.get("type") not in ("string", "null")]
    kinds = [m for m in members if isinstance(m, (*_WITH_FIELDS, inspect.CollectionType))]
    if len(others) == len(kinds):
        for option, kind in zip(others, kinds, strict=True):
            _walk(option, kind, named, seen)
