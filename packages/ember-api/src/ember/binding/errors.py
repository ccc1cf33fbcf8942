"""The errors of a request, which are collected and reported together."""

from __future__ import annotations

from typing import Any

from ember.exceptions import UnprocessableEntity
from ember.schema import Codec, FieldError

__all__ = ["InvalidRequest", "missing", "wrong"]


class InvalidRequest(UnprocessableEntity):
    """422 with all errors in `errors`, each `{"loc": [...], "msg": "...", "type": "..."}`.

    `loc` begins with the source of the value: "path", "query", "header", "cookie" or "body".
    """

    errors: list[FieldError]

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        count = len(errors)
        super().__init__(
            f"the request has {count} error{'' if count == 1 else 's'}: "
            + "; ".join(f"{_path(error['loc'])}: {error['msg']}" for error in errors[:3])
            + ("; ..." if count > 3 else "")
        )

    @property
    def extensions(self) -> dict[str, Any]:
        """The further members of the problem+json body (RFC 9457 section 3.2)."""
        return {"errors": self.errors}


def _path(loc: list[Any]) -> str:
    return ".".join(str(part) for part in loc)


def missing(errors: list[FieldError] | None, loc: list[Any]) -> list[FieldError]:
    """`errors` with one more: the value at `loc` is missing."""
    field_error = {"loc": loc, "msg": "this value is required", "type": "missing"}
    if errors is None:
        return [field_error]
    errors.append(field_error)
    return errors


def not_text(errors: list[FieldError] | None, loc: list[Any]) -> list[FieldError]:
    """`errors` with one more: a form has a file at `loc` instead of text."""
    field_error = {"loc": loc, "msg": "expected text, got a file", "type": "string_type"}
    return [field_error] if errors is None else [*errors, field_error]


def wrong(
    errors: list[FieldError] | None, codec: Codec, error: Exception, data: Any, loc: list[Any]
) -> list[FieldError]:
    """`errors` with those that `codec` finds in `data`, which came as text."""
    found = codec.field_errors(error, data, loc, "text")
    if errors is None:
        return found
    errors.extend(found)
    return errors
