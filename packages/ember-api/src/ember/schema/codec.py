"""The interface to the libraries that validate: `Codec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ember.exceptions import BadRequest

#: The largest number of errors in one response.
MAX_ERRORS = 100
#: One error of a request: `loc` (where), `msg` (for people), `type` (for programs).
FieldError = dict[str, Any]


class SchemaError(TypeError):
    """An annotation that no library can validate. Raised when the application starts."""


class Codec:
    """Decodes, converts, encodes and describes the values of one annotation.

    `decode`, `decode_msgpack` and `convert` raise one of `errors`; `field_errors` explains that
    error.
    """

    #: The annotation, with its constraints.
    annotation: Any
    #: The exceptions that mean that a value is invalid.
    errors: tuple[type[Exception], ...]
    #: Decodes JSON. It may be a function of the library itself, which is faster.
    decode: Callable[[bytes], Any]
    #: Encodes a value as JSON.
    encode: Callable[[Any], bytes]

    def decode_again(self, data: bytes, error: Exception) -> Any:
        """Decode JSON that `decode` refused with `error`, if JSON Schema allows it and only the
        library does not. Raises one of `errors`."""
        raise error

    def decode_msgpack(self, data: bytes) -> Any:
        """Decode MessagePack. Raises one of `errors`."""
        raise NotImplementedError

    def convert(self, value: Any) -> Any:
        """Convert text (a str, or a list or dict of them) or plain Python objects to a value.

        Raises one of `errors`."""
        raise NotImplementedError

    def field_errors(
        self, error: Exception, data: Any, loc: list[Any], form: str
    ) -> list[FieldError]:
        """All errors of `data`, not only `error`.

        `data` is the argument of the function that raised `error`; `form` says which function it
        was: "json", "msgpack" or "text". Raises BadRequest if `data` is not JSON or MessagePack.
        """
        raise NotImplementedError

    def json_schema(self, ref_template: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Returns (schema, named schemas that it refers to). `ref_template` contains `{name}`."""
        raise NotImplementedError


def malformed(form: str, error: Exception) -> BadRequest:
    """The error (400) for a body that is not valid JSON or MessagePack."""
    name = "MessagePack" if form == "msgpack" else "JSON"
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not UTF-8"
    elif isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    return BadRequest(f"the body is not valid {name}: {reason}")
