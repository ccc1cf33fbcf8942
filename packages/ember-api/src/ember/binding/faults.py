"""What is wrong with a request, all of it at once."""

from __future__ import annotations

from typing import Any

from ember.exceptions import UnprocessableEntity
from ember.schema import Codec, Fault

__all__ = ["InvalidRequest", "missing", "wrong"]


class InvalidRequest(UnprocessableEntity):
    """422 with every fault in `errors`, each `{"loc": [...], "msg": "...", "type": "..."}`.

    `loc` begins with where it was: "path", "query", "header", "cookie" or "body".
    """

    errors: list[Fault]

    def __init__(self, errors: list[Fault]) -> None:
        self.errors = errors
        count = len(errors)
        super().__init__(
            f"the request has {count} fault{'' if count == 1 else 's'}: "
            + "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in errors[:3])
            + ("; ..." if count > 3 else "")
        )

    @property
    def extensions(self) -> dict[str, Any]:
        """The further members of the problem+json body (RFC 9457 section 3.2)."""
        return {"errors": self.errors}


def _place(loc: list[Any]) -> str:
    return ".".join(str(part) for part in loc)


def missing(faults: list[Fault] | None, loc: list[Any]) -> list[Fault]:
    """`faults` and one more: nothing is there."""
    fault = {"loc": loc, "msg": "this value is required", "type": "missing"}
    if faults is None:
        return [fault]
    faults.append(fault)
    return faults


def not_text(faults: list[Fault] | None, loc: list[Any]) -> list[Fault]:
    """`faults` and one more: a file where a field of a form was expected."""
    fault = {"loc": loc, "msg": "expected text, got a file", "type": "string_type"}
    return [fault] if faults is None else [*faults, fault]


def wrong(
    faults: list[Fault] | None, codec: Codec, error: Exception, data: Any, loc: list[Any]
) -> list[Fault]:
    """`faults` and what `codec` finds wrong with `data`, which came as text."""
    found = codec.faults(error, data, loc, "text")
    if faults is None:
        return found
    faults.extend(found)
    return faults
