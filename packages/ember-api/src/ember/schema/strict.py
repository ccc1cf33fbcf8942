"""Refuses values that msgspec accepts and JSON Schema does not.

- A Decimal may not be NaN or infinity, or have digits of other scripts, underscores, spaces, or an
  exponent so large that a calculation would fill the memory.
- `$` in a pattern is the end of the text (ECMA-262), not the position before a last line break.
- In a query, a date or a duration may not be a number of seconds.

Only annotations with one of these types are checked: the plain value is compared with the
annotation, part by part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import lru_cache
from typing import Any

from msgspec import inspect

#: A decimal number as text (the OpenAPI document says the same).
DECIMAL = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?$"
#: The largest exponent in such a text, and in a JSON number.
_MOST = 9999

_is_decimal = re.compile(DECIMAL[:-1] + r"\Z").match
_is_number = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?\Z").match
#: In a pattern: an escaped character, a class of characters, or a `$`.
_parts = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)

_FIELDS = (
    inspect.StructType,
    inspect.DataclassType,
    inspect.TypedDictType,
    inspect.NamedTupleType,
)
_ITEMS = (
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
    inspect.CollectionType,
)
_MOMENTS = {
    inspect.DateTimeType: ("expected a date and time (RFC 3339)", "datetime_parsing"),
    inspect.DateType: ("expected a date (YYYY-MM-DD)", "date_parsing"),
    inspect.TimeType: ("expected a time (HH:MM:SS)", "time_parsing"),
    inspect.TimeDeltaType: ("expected a duration (ISO 8601)", "timedelta_parsing"),
}


class OutOfBounds(ValueError):
    """A value that breaks a rule that msgspec does not check; `args`: (msg, type, path)."""

    def __init__(self, message: str, slug: str, path: tuple[Any, ...] = ()) -> None:
        super().__init__(message, slug, path)


class Strict:
    """Checks plain values of one annotation. It is False if there is nothing to check."""

    def __init__(self, annotation: Any) -> None:
        try:
            self._info = inspect.type_info(annotation)
        except TypeError:
            # The codec raises the error for a type that msgspec does not know.
            self._info = inspect.AnyType()
        kinds = {_kind(info) for info in _all(self._info)}
        self._decimals = "decimal" in kinds
        self._patterns = "pattern" in kinds
        self._moments = "moment" in kinds

    def __bool__(self) -> bool:
        return self._decimals or self._patterns or self._moments

    def check_json(self, data: bytes) -> None:
        """Check valid JSON. Raises OutOfBounds."""
        # A line break in a JSON string is an escape sequence.
        if self._decimals or (self._patterns and (b"\\n" in data or b"\\u000" in data)):
            self.check(_loose()(data), False)

    def check_msgpack(self, data: bytes) -> None:
        """Check valid MessagePack. Raises OutOfBounds."""
        if self._decimals or (self._patterns and b"\n" in data):
            from msgspec import msgpack

            self.check(msgpack.decode(data), False)

    def check(self, value: Any, text: bool) -> None:
        """Check a plain value; `text`: it came as text. Raises OutOfBounds."""
        _look(value, self._info, (), text)


@lru_cache(maxsize=1)
def _loose() -> Callable[[bytes], Any]:
    from msgspec import json

    # A number that is too large for a float may be a valid Decimal.
    return json.Decoder(float_hook=Decimal).decode


def _all(info: inspect.Type) -> Iterator[inspect.Type]:
    """`info` and all types inside it, each once."""
    waiting, seen = [info], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, inspect.Metadata):
            waiting.append(found.type)
        elif isinstance(found, _FIELDS):
            waiting.extend(field.type for field in found.fields)
        elif isinstance(found, _ITEMS):
            waiting.append(found.item_type)
        elif isinstance(found, inspect.TupleType):
            waiting.extend(found.item_types)
        elif isinstance(found, inspect.DictType):
            waiting.extend((found.key_type, found.value_type))
        elif isinstance(found, inspect.UnionType):
            waiting.extend(found.types)


def _kind(info: inspect.Type) -> str:
    if isinstance(info, inspect.DecimalType):
        return "decimal"
    if isinstance(info, inspect.StrType) and info.pattern and "$" in info.pattern:
        return "pattern"
    return "moment" if type(info) in _MOMENTS else ""


def _look(value: Any, info: inspect.Type, path: tuple[Any, ...], text: bool) -> None:
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(value, str):
        _look_at_text(value, info, path, text)
    elif isinstance(value, (int, float, Decimal)):
        if isinstance(info, inspect.DecimalType):
            _look_at_number(value, path)
        elif isinstance(info, inspect.UnionType):
            for member in info.types:
                _look(value, member, path, text)
    elif isinstance(info, inspect.UnionType):
        _look_at_union(value, info, path, text)
    elif isinstance(value, dict):
        _look_at_object(value, info, path, text)
    elif isinstance(value, (list, tuple)):
        _look_at_list(value, info, path, text)


def _look_at_text(value: str, info: inspect.Type, path: tuple[Any, ...], text: bool) -> None:
    if isinstance(info, inspect.UnionType):
        # A union has at most one type that comes as text; msgspec refuses other text.
        for member in info.types:
            _look(value, member, path, text)
    elif isinstance(info, inspect.DecimalType):
        if _is_decimal(value) is None:
            raise OutOfBounds("expected a decimal number", "decimal_parsing", path)
    elif isinstance(info, inspect.StrType):
        if info.pattern and value.endswith("\n") and not ends(info.pattern).search(value):
            raise OutOfBounds(
                f"expected text that matches {info.pattern!r}", "string_pattern_mismatch", path
            )
    elif text and type(info) in _MOMENTS and _is_number(value) is not None:
        raise OutOfBounds(*_MOMENTS[type(info)], path)


def _look_at_number(value: float | Decimal, path: tuple[Any, ...]) -> None:
    number = value if isinstance(value, Decimal) else Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > _MOST:
        raise OutOfBounds("expected a decimal number of common size", "decimal_parsing", path)


def _look_at_union(value: Any, info: inspect.UnionType, path: tuple[Any, ...], text: bool) -> None:
    kinds = (*_FIELDS, inspect.DictType) if isinstance(value, dict) else (*_ITEMS, *_ARRAYS)
    failed: OutOfBounds | None = None
    for member in info.types:
        bare = member.type if isinstance(member, inspect.Metadata) else member
        if isinstance(bare, kinds):
            try:
                _look(value, bare, path, text)
            except OutOfBounds as error:
                failed = error
            else:
                return
    if failed is not None:
        raise failed


_ARRAYS = (inspect.TupleType, inspect.NamedTupleType, inspect.StructType)


def _look_at_object(
    value: dict[Any, Any], info: inspect.Type, path: tuple[Any, ...], text: bool
) -> None:
    if isinstance(info, _FIELDS):
        for field in info.fields:
            if field.encode_name in value:
                name = field.encode_name
                _look(value[name], field.type, (*path, name), text)
    elif isinstance(info, inspect.DictType):
        for key, item in value.items():
            _look(key, info.key_type, (*path, key), True)
            _look(item, info.value_type, (*path, key), text)


def _look_at_list(
    value: list[Any] | tuple[Any, ...], info: inspect.Type, path: tuple[Any, ...], text: bool
) -> None:
    if isinstance(info, _ITEMS):
        for at, item in enumerate(value):
            _look(item, info.item_type, (*path, at), text)
    elif isinstance(info, inspect.TupleType):
        for at, (item, kind) in enumerate(zip(value, info.item_types, strict=False)):
            _look(item, kind, (*path, at), text)
    elif isinstance(info, (inspect.NamedTupleType, inspect.StructType)):
        for at, (item, field) in enumerate(zip(value, info.fields, strict=False)):
            _look(item, field.type, (*path, at), text)


@lru_cache(maxsize=256)
def ends(pattern: str) -> re.Pattern[str]:
    """`pattern` in which `$` is the end of the text, as in JSON Schema."""
    return re.compile(_parts.sub(lambda part: r"\Z" if part[0] == "$" else part[0], pattern))


def is_multiple(value: Any, of: Any) -> bool:
    """Whether `value` is an exact multiple of `of`, with as many digits as needed."""
    if not isinstance(value, Decimal):
        return not value % of
    of = Decimal(of)
    digits = max(value.adjusted(), 0) - min(int(of.as_tuple().exponent), 0)
    digits += len(of.as_tuple().digits) + len(value.as_tuple().digits)
    return not Context(digits + 10, Emax=MAX_EMAX, Emin=MIN_EMIN).remainder(value, of)
