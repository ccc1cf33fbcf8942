"""How an answer goes into a store outside this process, and comes back."""

from __future__ import annotations

import json
from typing import Any

from ember.cache import Cache
from ember.cache.shared import SharedCache
from ember.protocol.message.headers import check_name, check_value
from ember.route_cache.answer import NOT_KEPT, Answer

_VERSION = b"E1"
#: Seconds since the epoch; no clock of a machine that is set right says more (year 5138).
_LARGEST = 1e11
#: What `policy.decide` lets in of RFC 9110 section 15.3 and the registry; one that nobody has heard
#: of may be a damaged one, and is not kept outside this process.
STATUSES = frozenset((200, 201, 202, 203, 204, 205, 207, 208, 226))
_NEVER_KEPT = NOT_KEPT | {"set-cookie"}


class Wire:
    """`pack` and `unpack` for one cache. In this process an answer is kept as it is; for a remote
    store it is bytes, or str where the cache's serializer only takes text."""

    __slots__ = ("_text", "packs")

    def __init__(self, cache: Cache) -> None:
        self.packs = isinstance(cache, SharedCache)
        self._text = isinstance(cache, SharedCache) and not _takes(cache, b"\x00\xff")
        if self._text and not _takes(cache, "\x00\xff"):  # type: ignore[arg-type]
            assert isinstance(cache, SharedCache)
            raise TypeError(
                f"the serializer {cache.serializer.name!r} of {type(cache).__name__} writes "
                f"neither bytes nor str; use BytesSerializer() or MsgpackSerializer()"
            )

    def pack(self, answer: Answer) -> Any:
        """What is handed to the cache."""
        if not self.packs:
            return answer
        head = json.dumps(
            [
                answer.label,
                answer.status,
                answer.content_type,
                answer.fields,
                answer.for_all,
                answer.freshness,
                answer.born,
            ],
            separators=(",", ":"),
        ).encode()
        data = b"%s%08x%s%s" % (_VERSION, len(head), head, answer.body)
        return data.decode("latin-1") if self._text else data

    def unpack(self, value: Any) -> Answer | None:
        """The answer that `pack` was given; None for what is none, such as another version's, or
        what somebody else has put into the store: nothing of that reaches a client."""
        if isinstance(value, Answer):
            return value
        try:
            return _read(value)
        except Exception:  # noqa: BLE001 - however it is not one, it is not one
            return None


def _read(value: Any) -> Answer:
    """Raises ValueError, or whatever it stumbles over, for what `pack` has not made."""
    if isinstance(value, str):
        value = value.encode("latin-1")
    if not isinstance(value, bytes) or not value.startswith(_VERSION):
        raise ValueError("another version")
    end = 10 + int(value[2:10], 16)
    if not 10 <= end <= len(value):
        raise ValueError("cut short")
    label, status, kind, fields, for_all, freshness, born = json.loads(value[10:end])
    body = value[end:]
    if type(status) is not int or status not in STATUSES:
        raise ValueError("a status that is not kept")
    if body and status in (204, 205):
        raise ValueError("a status without content")
    if type(label) is not str or type(for_all) is not bool:
        raise ValueError("not the parts of an answer")
    if kind is not None and (not kind or check_value("Content-Type", kind) != kind):
        raise ValueError("not a media type")
    for number in (freshness, born):
        # Not a number is outside too.
        if type(number) not in (int, float) or not 0 <= number <= _LARGEST:
            raise ValueError("not a time")
    pairs = []
    for name, text in fields:
        if check_name(name).lower() in _NEVER_KEPT or check_value(name, text) != text:
            raise ValueError("a field that is not kept")
        pairs.append((name, text))
    return Answer(label, status, kind, pairs, body, for_all, freshness, born)


def _takes(cache: SharedCache, value: object) -> bool:
    try:
        return bool(cache.serializer.loads(cache.serializer.dumps(value)) == value)
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take it
        return False
