"""How an answer goes into a store outside this process, and comes back."""

from __future__ import annotations

import json
from typing import Any

from ember.cache import Cache
from ember.cache.shared import SharedCache
from ember.caching.answer import Answer

_VERSION = b"E1"


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
        """The answer that `pack` was given; None for what is none, such as another version's."""
        if isinstance(value, Answer):
            return value
        try:
            if isinstance(value, str):
                value = value.encode("latin-1")
            if not isinstance(value, bytes) or not value.startswith(_VERSION):
                return None
            end = 10 + int(value[2:10], 16)
            label, status, kind, fields, for_all, freshness, born = json.loads(value[10:end])
            pairs = [(str(n), str(v)) for n, v in fields]
        except (ValueError, TypeError):
            return None
        return Answer(label, status, kind, pairs, value[end:], for_all, freshness, born)


def _takes(cache: SharedCache, value: object) -> bool:
    try:
        return bool(cache.serializer.loads(cache.serializer.dumps(value)) == value)
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take it
        return False
