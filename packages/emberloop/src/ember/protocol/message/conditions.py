"""What a request asks for besides what is at its target: conditions, credentials, a body."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ember.protocol.message.interfaces import Head

_CONDITIONS = {b"if-none-match": 1, b"if-modified-since": 2}
#: Fields with which a request asks for more than what is at its target.
_BYPASSES_CACHE = frozenset(
    (
        b"authorization",
        b"cache-control",
        b"cookie",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"pragma",
        b"range",
    )
)


def conditions(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """1 for If-None-Match, 2 for If-Modified-Since, 4 for Range and the other conditions (RFC 9110
    sections 13 and 14.2)."""
    found = 0
    for name, _ in fields:
        lower = name.lower()
        if lower[:3] == b"if-":
            found |= _CONDITIONS.get(lower, 4)
        elif lower == b"range":
            found |= 4
    return found


def bypasses_cache(head: Head) -> bool:
    """Whether `head` asks for more than what is at its target, or has a body."""
    if head.framing.chunked or head.framing.length > 0:
        return True
    return any(name.lower() in _BYPASSES_CACHE for name, _ in head.fields)
