"""Validation by msgspec or pydantic, for Structs, models, dataclasses, TypedDict and attrs.

`codec_for(annotation)` chooses the library, once at start: pydantic if the annotation contains one
of its models or types, msgspec for everything else. A library is imported when the first annotation
needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ember.schema.annotations import bare, constraints_of, is_model, needs_pydantic
from ember.schema.codec import Codec, FieldError, SchemaError

__all__ = ["Codec", "FieldError", "SchemaError", "codec_for"]


def codec_for(annotation: Any, constraints: Mapping[str, Any] | None = None) -> Codec:
    """The codec of `annotation`. Raises SchemaError if no library can validate it.

    The same annotation gives the same codec: codecs are expensive to make, and routes share models.
    """
    key = (annotation, tuple(constraints.items()) if constraints else ())
    try:
        known = _codecs.get(key)
    except TypeError:  # a default or a Literal that cannot be hashed
        return _make(annotation, constraints or {})
    # Not `==`: Literal[1] equals Literal[True].
    if known is None or known[0] is not annotation:
        known = _codecs[key] = (annotation, _make(annotation, constraints or {}))
    return known[1]


_codecs: dict[Any, tuple[Any, Codec]] = {}


def _make(annotation: Any, constraints: Mapping[str, Any]) -> Codec:
    if needs_pydantic(annotation):
        from ember.schema.models import ModelCodec, model_codec

        if is_model(annotation) and not constraints:
            return model_codec(annotation)
        return ModelCodec(annotation, constraints)
    from ember.schema.native import NativeCodec

    parts = bare(annotation)
    return NativeCodec(annotation, parts, {**constraints_of(parts.metadata), **constraints})
