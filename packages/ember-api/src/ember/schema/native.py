"""msgspec: validates Structs, dataclasses, TypedDicts, attrs classes, and types of the standard
library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Union

import msgspec

from ember._json import json_form
from ember.schema.annotations import Bare, decode_hook, is_model, is_upload
from ember.schema.codec import Codec, FieldError, SchemaError, malformed
from ember.schema.errors import collect
from ember.schema.strict import OutOfBounds, Strict, is_multiple
from ember.schema.times import name_times

#: As OpenAPI 3.1 describes a file of a multipart form.
FILE = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/octet-stream",
}

#: Constraints that msgspec does not support for Decimal, date, datetime, time, timedelta.
_COMPARISONS: dict[str, tuple[str, str, Callable[[Any, Any], bool]]] = {
    "gt": ("greater_than", "expected more than", lambda a, b: bool(a > b)),
    "ge": ("greater_than_equal", "expected at least", lambda a, b: bool(a >= b)),
    "lt": ("less_than", "expected less than", lambda a, b: bool(a < b)),
    "le": ("less_than_equal", "expected at most", lambda a, b: bool(a <= b)),
    "multiple_of": ("multiple_of", "expected a multiple of", is_multiple),
}


class NativeCodec(Codec):
    """Validates with msgspec."""

    def __init__(self, annotation: Any, parts: Bare, constraints: dict[str, Any]) -> None:
        # RecursionError: the value is nested too deeply.
        self.errors = (msgspec.DecodeError, UnicodeDecodeError, OutOfBounds, RecursionError)
        self._checks: list[tuple[Callable[[Any, Any], bool], Any, str, str]] = []
        self.annotation = self._constrained(annotation, parts, constraints)
        try:
            decoder = msgspec.json.Decoder(self.annotation, dec_hook=decode_hook)
        except (TypeError, RuntimeError) as error:
            raise SchemaError(str(error)) from None
        self._strict = Strict(self.annotation)
        #: Checks text with stricter rules than msgspec, if the annotation needs it.
        self._look = self._strict.check if self._strict else None
        self.decode = self._checked(decoder.decode, self._strict.check_json)
        self.encode = msgspec.json.Encoder(enc_hook=json_form).encode
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
                # The bound 0.5 of a Decimal is exact, not the nearest float.
                exact = parts.type(str(bound)) if isinstance(bound, float) else bound
                self._checks.append((check, exact, f"{text} {bound}", slug))
            return annotation
        return Union[constrained, None] if parts.optional else constrained  # noqa: UP007

    def _checked(
        self, function: Callable[[bytes], Any], look: Callable[[bytes], None]
    ) -> Callable[[bytes], Any]:
        if not self._checks and not self._strict:
            return function

        def checked(data: bytes) -> Any:
            value = function(data)
            look(data)
            return self._check(value)

        return checked

    def _check(self, value: Any) -> Any:
        if value is not None:
            for check, bound, message, slug in self._checks:
                try:
                    passes = check(value, bound)
                except ArithmeticError:  # the number has too many digits
                    raise OutOfBounds(message, slug) from None
                except TypeError:  # only one of the two has a time zone
                    raise OutOfBounds(f"{message}: add or drop the time zone", slug) from None
                if not passes:
                    raise OutOfBounds(message, slug)
        return value

    def decode_again(self, data: bytes, error: Exception) -> Any:
        # In JSON Schema 1.0 is an integer (section 6.1.1 of its validation), in msgspec it is not.
        if "`float`" not in str(error):
            raise error
        try:
            plain = _with_whole_numbers(data)
        except ValueError:
            raise error from None
        result = msgspec.convert(plain, self.annotation, str_keys=True, dec_hook=decode_hook)
        self._strict.check_json(data)
        return self._check(result)

    def decode_msgpack(self, data: bytes) -> Any:
        if self._msgpack is None:
            decoder = msgspec.msgpack.Decoder(self.annotation, dec_hook=decode_hook)
            self._msgpack = self._checked(decoder.decode, self._strict.check_msgpack)
        return self._msgpack(data)

    def convert(self, value: Any) -> Any:
        if self._look is not None:
            self._look(value, True)
        result = msgspec.convert(
            value, self.annotation, strict=False, str_keys=True, dec_hook=decode_hook
        )
        if result is None and type(value) is str:
            # msgspec reads the text "null" as null. A query has no null.
            raise OutOfBounds("expected a value, not the text null", "none_not_allowed")
        if type(result) is float and not math.isfinite(result):
            raise OutOfBounds("expected a finite number", "finite_number")
        return self._check(result) if self._checks else result

    def field_errors(
        self, error: Exception, data: Any, loc: list[Any], form: str
    ) -> list[FieldError]:
        if isinstance(error, OutOfBounds):
            message, slug, path = error.args
            return [{"loc": [*loc, *path], "msg": message, "type": slug}]
        if form == "text":
            plain = data
        elif not isinstance(error, msgspec.ValidationError):
            raise malformed(form, error)
        else:
            try:
                plain = (msgspec.json if form == "json" else msgspec.msgpack).decode(data)
                if form == "json":
                    plain = _with_whole_numbers(data)
            except (msgspec.DecodeError, ValueError, RecursionError) as broken:
                # The first error came before the broken JSON.
                raise malformed(form, broken) from None
        try:
            return collect(plain, self.annotation, loc, error, text=form == "text")
        except RecursionError as broken:
            raise malformed(form, broken) from None

    def json_schema(self, ref_template: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        models: dict[str, dict[str, Any]] = {}
        try:
            (schema,), named = msgspec.json.schema_components(
                [self.annotation],
                ref_template=ref_template,
                schema_hook=lambda cls: _model_schema(cls, ref_template, models),
            )
        except (TypeError, RuntimeError) as error:
            raise SchemaError(str(error)) from None
        for name in models.keys() & named.keys():
            raise SchemaError(f"a Struct and a model are both called {name}; rename one")
        named |= models
        name_times(schema, self.annotation, named)
        return schema, named


def _with_whole_numbers(data: bytes) -> Any:
    """Decode JSON to plain objects; whole numbers become int. Raises ValueError."""
    import json

    def number(text: str) -> int | float:
        value = float(text)
        return int(value) if value.is_integer() else value

    def constant(text: str) -> Any:
        raise ValueError(f"{text} is not JSON")

    return json.loads(data, parse_float=number, parse_constant=constant)


def _model_schema(
    cls: type, ref_template: str, models: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """A reference to a pydantic model. The model, and those it refers to, are added to `models`."""
    if is_model(cls):
        from ember.schema.models import model_codec

        schema, named = model_codec(cls).json_schema(ref_template)
        models.update(named)
        return schema
    if is_upload(cls):
        return dict(FILE)
    raise NotImplementedError(f"{cls.__name__} has no JSON schema")


def _comparable(annotation: Any) -> bool:
    return isinstance(annotation, type) and (annotation.__module__ in ("datetime", "decimal"))


def _without_type(message: str) -> str:
    """The message of msgspec without the annotation: the caller's message names the parameter."""
    return message.partition(" - type `")[0]
