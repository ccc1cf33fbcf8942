"""pydantic v2, for annotations that contain one of its models or types.

This module is imported when such an annotation exists: then pydantic is installed and imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import pydantic

from ember.schema.codec import MAX_ERRORS, Codec, FieldError, SchemaError, malformed


class ModelCodec(Codec):
    """Validates with pydantic, in its default mode, which is lenient: JSON `"5"` is an `int`."""

    def __init__(self, annotation: Any, constraints: Mapping[str, Any]) -> None:
        if constraints:
            annotation = Annotated[annotation, pydantic.Field(**constraints)]
        self.annotation = annotation
        try:
            self._adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(annotation)
        except (pydantic.PydanticUserError, TypeError) as error:
            raise SchemaError(str(error).partition("\n")[0]) from None
        # OverflowError: a validator's own sum of a number that no double holds (ByteSize).
        self.errors = (pydantic.ValidationError, ValueError, RecursionError, OverflowError)
        validator: Any = self._adapter.validator
        self.decode = validator.validate_json
        self._convert = validator.validate_python
        self._strings = validator.validate_strings

    def encode(self, value: Any) -> bytes:
        return self._adapter.dump_json(value)

    def decode_msgpack(self, data: bytes) -> Any:
        import msgspec

        try:
            plain = msgspec.msgpack.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None
        return self._convert(plain)

    def convert(self, value: Any) -> Any:
        # Text goes by the rules for text ("1" is an IntEnum's value, also where the model is
        # strict); a list of text is taken as Python.
        if type(value) is dict and value and all(type(v) in (str, bool) for v in value.values()):
            value = {k: str(v).lower() if type(v) is bool else v for k, v in value.items()}
            return self._strings(value)
        return self._strings(value) if type(value) is str else self._convert(value)

    def field_errors(
        self, error: Exception, data: Any, loc: list[Any], form: str
    ) -> list[FieldError]:
        if isinstance(error, OverflowError):
            return [{"loc": loc, "msg": "expected a smaller number", "type": "value_error"}]
        if not isinstance(error, pydantic.ValidationError):
            raise malformed(form, error)
        found = error.errors(include_url=False, include_context=False, include_input=False)
        # The whole body is not JSON. Invalid JSON in a text inside it is an ordinary error.
        if form == "json" and found[0]["type"] == "json_invalid" and not found[0]["loc"]:
            raise malformed(form, ValueError(found[0]["msg"]))
        return [
            {"loc": [*loc, *item["loc"]], "msg": item["msg"], "type": item["type"]}
            for item in found[:MAX_ERRORS]
        ]

    def json_schema(self, ref_template: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        schema = self._adapter.json_schema(ref_template=ref_template.replace("{name}", "{model}"))
        named: dict[str, dict[str, Any]] = schema.pop("$defs", {})
        name = schema.get("title") if schema.get("type") == "object" else None
        if name is not None and name not in named:
            # The annotation is a model itself: it is named, so that a document has it once.
            named[name] = schema
            schema = {"$ref": ref_template.format(name=name)}
        return schema, named


@cache
def model_codec(model: type) -> ModelCodec:
    """The codec of a model. All annotations that refer to the model share it."""
    return ModelCodec(model, {})
