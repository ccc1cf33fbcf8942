"""The one seam over msgspec, pydantic, dataclasses, TypedDict and attrs.

`codec_for(annotation)` chooses, once at start, who validates: pydantic when the annotation holds
one of its models or types, msgspec for everything else. Neither is imported before an annotation
asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ember.schema.annotations import bare, constraints_of, is_model, needs_pydantic
from ember.schema.codec import Codec, Fault, SchemaError

__all__ = ["Codec", "Fault", "SchemaError", "codec_for"]


def codec_for(annotation: Any, constraints: Mapping[str, Any] | None = None) -> Codec:
    """Who validates `annotation`. Raises SchemaError for what neither library knows.

    The same annotation gives the same codec: they are made of compiled parts, and routes share
    their models.
    """
    key = (annotation, tuple(constraints.items()) if constraints else ())
    try:
        known = _codecs.get(key)
    except TypeError:  # a default or a Literal that cannot be hashed
        return _make(annotation, constraints or {})
    # Equal is not enough: Literal[1] equals Literal[True], and a class redefined has its old name.
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
