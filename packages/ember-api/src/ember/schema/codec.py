"""What stands between an annotation and the library that validates it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ember.exceptions import BadRequest

#: Faults in one answer.
MAX_FAULTS = 100
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


def malformed(form: str, error: Exception) -> BadRequest:
    """A body that is not what its content type says."""
    name = "MessagePack" if form == "msgpack" else "JSON"
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not UTF-8"
    elif isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    return BadRequest(f"the body is not valid {name}: {reason}")
