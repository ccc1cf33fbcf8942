"""msgspec: Structs, dataclasses, TypedDicts, attrs classes, and everything the standard library
has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Union

import msgspec

from ember.schema import Codec, Fault, SchemaError
from ember.schema.annotations import Bare, is_model
from ember.schema.faults import collect, malformed
from ember.schema.times import name_times

#: Comparisons that msgspec leaves to us: for Decimal, date, datetime, time, timedelta.
_COMPARISONS: dict[str, tuple[str, str, Callable[[Any, Any], bool]]] = {
    "gt": ("greater_than", "expected more than", lambda a, b: bool(a > b)),
    "ge": ("greater_than_equal", "expected at least", lambda a, b: bool(a >= b)),
    "lt": ("less_than", "expected less than", lambda a, b: bool(a < b)),
    "le": ("less_than_equal", "expected at most", lambda a, b: bool(a <= b)),
    "multiple_of": ("multiple_of", "expected a multiple of", lambda a, b: not a % b),
}


class OutOfBounds(ValueError):
    """A value that breaks a constraint which msgspec does not know; `args`: (msg, type)."""


def decode_hook(type: type, value: Any) -> Any:
    """A pydantic model inside a Struct."""
    if is_model(type):
        return type.model_validate(value)  # type: ignore[attr-defined]
    raise NotImplementedError(f"nothing decodes {type.__name__}")


def encode_hook(value: Any) -> Any:
    """The same on the way out."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise NotImplementedError(f"nothing encodes {type(value).__name__}")
    return dump(mode="json")


class NativeCodec(Codec):
    """What msgspec validates."""

    def __init__(self, annotation: Any, parts: Bare, constraints: dict[str, Any]) -> None:
        self.errors = (msgspec.DecodeError, UnicodeDecodeError, OutOfBounds)
        self._checks: list[tuple[Callable[[Any, Any], bool], Any, str, str]] = []
        self.annotation = self._constrained(annotation, parts, constraints)
        try:
            decoder = msgspec.json.Decoder(self.annotation, dec_hook=decode_hook)
        except (TypeError, RuntimeError) as error:
            raise SchemaError(str(error)) from None
        self.decode = self._checked(decoder.decode)
        self.encode = msgspec.json.Encoder(enc_hook=encode_hook).encode
        self._msgpack: Callable[[bytes], Any] | None = None

    def _constrained(self, annotation: Any, parts: Bare, constraints: dict[str, Any]) -> Any:
        if not constraints:
            return annotation
        try:
            annotated: Any = Annotated
            constrained = annotated[parts.type, msgspec.Meta(**constraints)]
            msgspec.json.Decoder(constrained)
        except (TypeError, ValueError) as error:
            if not _comparable(parts.type) or not constraints.keys() <= _COMPARISONS.keys():
                raise SchemaError(_without_type(str(error))) from None
            for name, bound in constraints.items():
                slug, text, check = _COMPARISONS[name]
                # 0.5 as a bound of a Decimal means what it says, not its binary neighbour.
                exact = parts.type(str(bound)) if isinstance(bound, float) else bound
                self._checks.append((check, exact, f"{text} {bound}", slug))
            return annotation
        return Union[constrained, None] if parts.optional else constrained  # noqa: UP007

    def _checked(self, function: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        if not self._checks:
            return function
        return lambda data: self._check(function(data))

    def _check(self, value: Any) -> Any:
        if value is not None:
            for check, bound, message, slug in self._checks:
                try:
                    passes = check(value, bound)
                except TypeError:  # one has a time zone and the other has not
                    raise OutOfBounds(f"{message}: add or drop the time zone", slug) from None
                if not passes:
                    raise OutOfBounds(message, slug)
        return value

    def decode_again(self, data: bytes, error: Exception) -> Any:
        # To JSON Schema 1.0 is an integer (section 6.1.1 of its validation), to msgspec it is not.
        if "`float`" not in str(error):
            raise error
        try:
            plain = _with_whole_numbers(data)
        except ValueError:
            raise error from None
        result = msgspec.convert(plain, self.annotation, str_keys=True, dec_hook=decode_hook)
        return self._check(result) if self._checks else result

    def decode_msgpack(self, data: bytes) -> Any:
        if self._msgpack is None:
            decoder = msgspec.msgpack.Decoder(self.annotation, dec_hook=decode_hook)
            self._msgpack = self._checked(decoder.decode)
        return self._msgpack(data)

    def convert(self, value: Any) -> Any:
        result = msgspec.convert(
            value, self.annotation, strict=False, str_keys=True, dec_hook=decode_hook
        )
        if result is None and type(value) is str:
            # msgspec reads the text "null" as null; a query has no null but to leave it away.
            raise OutOfBounds("expected a value, not the text null", "none_not_allowed")
        if type(result) is float and not math.isfinite(result):
            raise OutOfBounds("expected a finite number", "finite_number")
        return self._check(result) if self._checks else result

    def faults(self, error: Exception, data: Any, loc: list[Any], form: str) -> list[Fault]:
        if isinstance(error, OutOfBounds):
            return [{"loc": loc, "msg": error.args[0], "type": error.args[1]}]
        if form == "text":
            plain = data
        elif not isinstance(error, msgspec.ValidationError):
            raise malformed(form, error)
        else:
            try:
                plain = (msgspec.json if form == "json" else msgspec.msgpack).decode(data)
                if form == "json":
                    plain = _with_whole_numbers(data)
            except (msgspec.DecodeError, ValueError) as broken:
                # What was wrong came before what is broken.
                raise malformed(form, broken) from None
        return collect(plain, self.annotation, loc, error, text=form == "text")

    def json_schema(self, ref_template: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        try:
            (schema,), named = msgspec.json.schema_components(
                [self.annotation],
                ref_template=ref_template,
                schema_hook=lambda cls: _model_schema(cls, ref_template),
            )
        except (TypeError, RuntimeError) as error:
            raise SchemaError(str(error)) from None
        name_times(schema, self.annotation, named)
        return schema, named


def _with_whole_numbers(data: bytes) -> Any:
    """JSON as plain objects, with an int wherever a number is whole. Raises ValueError."""
    import json

    def number(text: str) -> int | float:
        value = float(text)
        return int(value) if value.is_integer() else value

    def constant(text: str) -> Any:
        raise ValueError(f"{text} is no JSON")

    return json.loads(data, parse_float=number, parse_constant=constant)


def _model_schema(cls: type, ref_template: str) -> dict[str, Any]:
    if is_model(cls):
        result: dict[str, Any] = cls.model_json_schema(  # type: ignore[attr-defined]
            ref_template=ref_template.replace("{name}", "{model}")
        )
        return result
    raise NotImplementedError(f"{cls.__name__} has no JSON schema")


def _comparable(annotation: Any) -> bool:
    return isinstance(annotation, type) and (annotation.__module__ in ("datetime", "decimal"))


def _without_type(message: str) -> str:
    """msgspec's message without the annotation as repr shows it: ours names the parameter."""
    return message.partition(" - type `")[0]
