"""The format of a stored response in a store outside this process."""

from __future__ import annotations

import json
from typing import Any

from ember.cache import Cache
from ember.cache.shared import SharedCache
from ember.protocol.message.headers import check_name, check_value
from ember.route_cache.stored_response import NOT_KEPT, StoredResponse

_VERSION = b"E1"
#: The largest time, in seconds since the epoch (year 5138).
_LARGEST = 1e11
#: The statuses of RFC 9110 section 15.3, and of the registry, that `policy.decide` allows. Another
#: status may come from a damaged value; it is not stored outside this process.
STATUSES = frozenset((200, 201, 202, 203, 204, 205, 207, 208, 226))
_NEVER_KEPT = NOT_KEPT | {"set-cookie"}


class Wire:
    """`pack` and `unpack` for one cache. In a local cache a response is stored as an object. For a
    remote store it becomes bytes, or str if the serializer of the cache only accepts text."""

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

    def pack(self, stored: StoredResponse) -> Any:
        """The value for the cache."""
        if not self.packs:
            return stored
        head = json.dumps(
            [
                stored.label,
                stored.status,
                stored.content_type,
                stored.fields,
                stored.for_all,
                stored.freshness,
                stored.born,
            ],
            separators=(",", ":"),
        ).encode()
        data = b"%s%08x%s%s" % (_VERSION, len(head), head, stored.body)
        return data.decode("latin-1") if self._text else data

    def unpack(self, value: Any) -> StoredResponse | None:
        """The stored response that `pack` was given. None for any other value, for example from
        another version or another program: it must never reach a client."""
        if isinstance(value, StoredResponse):
            return value
        try:
            return _read(value)
        except Exception:  # noqa: BLE001 - any error means that the value is not valid
            return None


def _read(value: Any) -> StoredResponse:
    """Read what `pack` made. Raises ValueError or another exception for any other value."""
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
        raise ValueError("a status that is not stored")
    if body and status in (204, 205):
        raise ValueError("a status without content")
    if type(label) is not str or type(for_all) is not bool:
        raise ValueError("not a label or not a flag")
    if kind is not None and (not kind or check_value("Content-Type", kind) != kind):
        raise ValueError("not a media type")
    for number in (freshness, born):
        # NaN fails this comparison too.
        if type(number) not in (int, float) or not 0 <= number <= _LARGEST:
            raise ValueError("not a time")
    pairs = []
    for name, text in fields:
        if check_name(name).lower() in _NEVER_KEPT or check_value(name, text) != text:
            raise ValueError("a field that is not stored")
        pairs.append((name, text))
    return StoredResponse(label, status, kind, pairs, body, for_all, freshness, born)


def _takes(cache: SharedCache, value: object) -> bool:
    try:
        return bool(cache.serializer.loads(cache.serializer.dumps(value)) == value)
    except Exception:  # noqa: BLE001 - any error means that it does not accept the value
        return False
