"""Collects all errors of a value that msgspec refused.

msgspec stops at the first error, which makes it fast. Only after a failure the value is validated
again, piece by piece. The number of steps is limited: a hostile body cannot cause unlimited work.
"""

from __future__ import annotations

import enum
import re
from typing import Any, Literal, get_args, get_origin

import msgspec

from ember.schema.annotations import bare, decode_hook, fields_of, is_model, is_sequence
from ember.schema.codec import MAX_ERRORS, FieldError

#: The largest number of values that are validated again. Above it only the first error is reported.
MAX_STEPS = 10_000

_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "bytes": "bytes",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "uuid": "a UUID",
    "datetime": "a date and time (RFC 3339)",
    "date": "a date (YYYY-MM-DD)",
    "time": "a time (HH:MM:SS)",
    "timedelta": "a duration (ISO 8601)",
    "decimal": "a decimal number",
}
_SLUGS = {"str": "string", "array": "list", "object": "dict", "null": "none"}

_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BOUND = re.compile(r"Expected `([^`]*)` (>=|<=|>|<) (\S+)")
_LENGTH = re.compile(r"Expected `([^`]*)` of length (>=|<=) (\d+)")
_COUNT = re.compile(r"Expected `array` of length (\d+)(?: to (\d+))?, got (\d+)")
_MULTIPLE = re.compile(r"Expected `[^`]*` that's a multiple of (\S+)")
_PATTERN = re.compile(r"Expected `[^`]*` matching regex (.*)", re.DOTALL)
_FIELD = re.compile(r"Object (missing required|contains unknown) field `([^`]*)`")
_INVALID = re.compile(r"Invalid (RFC3339 encoded |ISO8601 |)(\w+)")
_PATH = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_BOUNDS = {
    ">=": ("greater_than_equal", "at least"),
    ">": ("greater_than", "more than"),
    "<=": ("less_than_equal", "at most"),
    "<": ("less_than", "less than"),
}


def collect(
    value: Any, annotation: Any, loc: list[Any], error: Exception, text: bool
) -> list[FieldError]:
    """All errors of `value`, for which the validation of `annotation` raised `error`.

    `text`: the value came as text, so `"5"` is a valid number.
    """
    search = _Search(text)
    search.look(value, annotation, loc)
    if not search.found:
        # Too many steps, or an error of the whole value: `__post_init__`, a union.
        return [explain(str(error), loc, text)]
    return search.found[:MAX_ERRORS]


class _Search:
    def __init__(self, text: bool) -> None:
        self.text = text
        self.found: list[FieldError] = []
        self.steps = 0

    def look(self, value: Any, annotation: Any, loc: list[Any]) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS or len(self.found) >= MAX_ERRORS:
            return
        try:
            msgspec.convert(
                value, annotation, strict=not self.text, str_keys=True, dec_hook=decode_hook
            )
        except msgspec.ValidationError as error:
            before = len(self.found)
            if is_model(bare(annotation).type):
                self._ask_model(value, bare(annotation).type, loc)
                return
            self._look_inside(value, bare(annotation).type, loc)
            if len(self.found) == before and self.steps <= MAX_STEPS:
                field_error = explain(str(error), loc, self.text)
                if field_error["type"] == "enum":
                    field_error["msg"] = _expected_one_of(annotation) or field_error["msg"]
                self.found.append(field_error)

    def _ask_model(self, value: Any, model: Any, loc: list[Any]) -> None:
        from ember.schema.models import model_codec

        codec = model_codec(model)
        try:
            codec.convert(value)
        except codec.errors as error:
            self.found.extend(codec.field_errors(error, value, loc, "text"))

    def _look_inside(self, value: Any, annotation: Any, loc: list[Any]) -> None:
        if isinstance(value, dict):
            fields = fields_of(annotation)
            if fields:
                self._look_at_fields(value, fields, annotation, loc)
            elif get_origin(annotation) is dict:
                inner = get_args(annotation)[1]
                for key, item in value.items():
                    self.look(item, inner, [*loc, key])
        elif isinstance(value, list) and is_sequence(annotation):
            args = get_args(annotation)
            if len(args) == 1 or args[1:] == (...,):
                for index, item in enumerate(value):
                    self.look(item, args[0], [*loc, index])
            elif len(args) == len(value):
                for index, item in enumerate(value):
                    self.look(item, args[index], [*loc, index])

    def _look_at_fields(
        self, value: dict[Any, Any], fields: list[Any], annotation: Any, loc: list[Any]
    ) -> None:
        for field in fields:
            if field.alias in value:
                self.look(value[field.alias], field.type, [*loc, field.alias])
            elif field.required:
                self.found.append(missing([*loc, field.alias]))
        config = getattr(annotation, "__struct_config__", None)
        if config is not None and config.forbid_unknown_fields:
            known = {field.alias for field in fields} | {config.tag_field}
            for key in value:
                if key not in known:
                    self.found.append(_unknown([*loc, key]))


def _expected_one_of(annotation: Any) -> str:
    """The message for an Enum or a Literal, with the values it allows; "" for anything else."""
    inner = bare(annotation).type
    if get_origin(inner) is Literal:
        values = list(get_args(inner))
    elif isinstance(inner, type) and issubclass(inner, enum.Enum):
        values = [member.value for member in inner]
    else:
        return ""
    return f"expected one of {', '.join(str(value) for value in values)}"


def missing(loc: list[Any]) -> FieldError:
    """The error for a required value that is missing."""
    return {"loc": loc, "msg": "this value is required", "type": "missing"}


def _unknown(loc: list[Any]) -> FieldError:
    return {"loc": loc, "msg": "this field is not known", "type": "extra_forbidden"}


def explain(message: str, loc: list[Any], text: bool) -> FieldError:
    """Convert a message of msgspec to an error: its location, plain words, and pydantic's
    `type`."""
    message, at, path = message.partition(" - at `$")
    if at:
        loc = [*loc, *_parse_path(path.rstrip("`"))]
    if match := _FIELD.match(message):
        where = [*loc, match[2]]
        return missing(where) if match[1].startswith("missing") else _unknown(where)
    msg, slug = _describe(message, text)
    return {"loc": loc, "msg": msg, "type": slug}


def _parse_path(path: str) -> list[Any]:
    parts: list[Any] = []
    for name, index in _PATH.findall(path):
        if name:
            parts.append(name)
        elif index.isdigit():
            parts.append(int(index))
    return parts


def _describe(message: str, text: bool) -> tuple[str, str]:
    if match := _LENGTH.match(message):
        slug, words = ("too_short", "at least") if match[2] == ">=" else ("too_long", "at most")
        if match[1] in ("str", "bytes"):
            unit = "character" if match[1] == "str" else "byte"
            slug = f"{'string' if match[1] == 'str' else 'bytes'}_{slug}"
        else:
            unit = "item"
        return f"expected {words} {match[3]} {unit}{'' if match[3] == '1' else 's'}", slug
    if match := _COUNT.match(message):
        slug = "too_short" if int(match[3]) < int(match[1]) else "too_long"
        size = f"{match[1]} to {match[2]}" if match[2] else match[1]
        return f"expected {size} items, got {match[3]}", slug
    if match := _BOUND.match(message):
        slug, words = _BOUNDS[match[2]]
        return f"expected {words} {match[3]}", slug
    if match := _MULTIPLE.match(message):
        return f"expected a multiple of {match[1]}", "multiple_of"
    if match := _PATTERN.match(message):
        return f"expected text that matches {match[1]}", "string_pattern_mismatch"
    if match := _EXPECTED.match(message):
        return _mismatch(match[1].split(" | "), match[2], text)
    if message.startswith("Invalid enum value"):
        return f"{message[8:]} is not one of the values allowed here", "enum"
    if match := _INVALID.match(message):
        kind = {"duration": "timedelta"}.get(match[2].lower(), match[2].lower())
        if kind in _NOUNS:
            return f"expected {_NOUNS[kind]}", f"{kind}_parsing"
    return message, "value_error"


def _mismatch(expected: list[str], got: str, text: bool) -> tuple[str, str]:
    words = " or ".join(_NOUNS.get(name, name) for name in expected)
    first = next((name for name in expected if name != "null"), "null")
    if text and got == "str":
        return f"expected {words}", f"{_SLUGS.get(first, first)}_parsing"
    return f"expected {words}, got {_NOUNS.get(got, got)}", f"{_SLUGS.get(first, first)}_type"
