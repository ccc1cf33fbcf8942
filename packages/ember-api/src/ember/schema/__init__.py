"""The one seam over msgspec, pydantic, dataclasses, TypedDict and attrs.

`codec_for(annotation)` chooses, once at start, who validates: pydantic when the annotation holds
one of its models or types, msgspec for everything else. Neither is imported before an annotation
asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ember.schema.annotations import bare, constraints_of, needs_pydantic

__all__ = ["Codec", "Fault", "SchemaError", "codec_for"]

#: One thing that is wrong with a request: `loc` (where), `msg` (for people), `type` (for programs).
Fault = dict[str, Any]


class SchemaError(TypeError):
    """An annotation that nothing can validate; raised when the application starts."""


class Codec:
    """How values of one annotation are decoded, converted, encoded and described.

    `decode`, `decode_msgpack` and `convert` raise one of `errors`; `faults` explains that error.
    """

    #: the annotation, with its constraints
    annotation: Any
    #: what the three raise for a value that is wrong
    errors: tuple[type[Exception], ...]
    #: JSON bytes to a value; may be a function of the library itself, so that nothing stands
    #: between
    decode: Callable[[bytes], Any]
    #: a value to JSON bytes
    encode: Callable[[Any], bytes]

    def decode_again(self, data: bytes, error: Exception) -> Any:
        """The value of JSON that `decode` refused with `error`, where the library is stricter than
        JSON Schema is. Raises one of `errors`."""
        raise error

    def decode_msgpack(self, data: bytes) -> Any:
        """MessagePack bytes to a value."""
        raise NotImplementedError

    def convert(self, value: Any) -> Any:
        """A value from text (a str, a list or a dict of them) or from plain Python objects."""
        raise NotImplementedError

    def faults(self, error: Exception, data: Any, loc: list[Any], form: str) -> list[Fault]:
        """Everything that is wrong, not only what `error` says.

        `data`: what was given to the function that raised; `form`: which one that was, "json",
        "msgpack" or "text". Raises BadRequest when `data` is no JSON or MessagePack at all.
        """
        raise NotImplementedError

    def json_schema(self, ref_template: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """(schema, named schemas that it refers to); `ref_template` has `{name}` in it."""
        raise NotImplementedError


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
        from ember.schema.models import ModelCodec

        return ModelCodec(annotation, constraints)
    from ember.schema.native import NativeCodec

    parts = bare(annotation)
    return NativeCodec(annotation, parts, {**constraints_of(parts.metadata), **constraints})
