"""The map in this process: bounded, with a time to live, tags and a window of staleness.

SIEVE (Zhang et al., NSDI 2024) decides which entry is evicted when the map is full. A hit only
marks its entry. A pointer walks from the oldest entry to the newest, removes the mark of those that
have one, and evicts the first without one. SIEVE keeps more of what is asked again than LRU, and a
hit moves nothing (`bench/stores.py` of this distribution measures both).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

__all__ = ["Copy", "Entry", "Store"]


class Copy(Protocol):
    """What somebody else has of an entry, to answer with it without asking here."""

    def take_hits(self) -> int:
        """How often it was given since the last call."""

    def forget(self) -> None:
        """The entry is gone, and its copy with it."""


# The walk of the hand is bounded, so that no single call pays for a million marked entries.
HAND_STEPS = 256


class Entry:
    """A value, until when it is what, and its place in the queue. Times are the clock's seconds."""

    __slots__ = (
        "copy",
        "error_until",
        "fresh_until",
        "key",
        "newer",
        "older",
        "retry_at",
        "seen",
        "stale_until",
        "stored_at",
        "tags",
        "value",
    )

    def __init__(self, key: Any, value: Any, tags: frozenset[str]) -> None:
        self.key = key
        self.value = value
        self.tags = tags
        #: hits there count as hits here; it is forgotten together with the entry
        self.copy: Copy | None = None
        self.stored_at = 0.0
        self.fresh_until = 0.0
        self.stale_until = 0.0
        self.error_until = 0.0
        self.retry_at = 0.0
        self.seen = False
        self.older: Entry | None = None
        self.newer: Entry | None = None

    def dead(self, now: float) -> bool:
        """Nothing may be done with it any more."""
        return now >= self.fresh_until and now >= self.stale_until and now >= self.error_until


class Store:
    """At most `max_entries` entries; `clock` gives monotonic seconds."""

    __slots__ = (
        "_by_tag",
        "_hand",
        "_map",
        "_newest",
        "_oldest",
        "clock",
        "evicted",
        "expired",
        "hits",
        "max_entries",
        "stored",
    )

    def __init__(self, max_entries: int, clock: Callable[[], float]) -> None:
        self.max_entries = max_entries
        self.clock = clock
        self.hits = 0
        self.stored = 0
        self.evicted = 0
        self.expired = 0
        self._map: dict[Any, Entry] = {}
        self._by_tag: dict[str, set[Any]] = {}
        self._newest: Entry | None = None
        self._oldest: Entry | None = None
        self._hand: Entry | None = None

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._map))

    def hit(self, key: Any) -> Entry | None:
        """The entry when it is fresh; this is the way of every hit."""
        entry = self._map.get(key)
        if entry is None:
            return None
        now = self.clock()
        if now >= entry.fresh_until:
            return None
        entry.seen = True
        self.hits += 1
        return entry

    def get(self, key: Any) -> Entry | None:
        """The entry, fresh or stale but still of use; a dead one is removed."""
        entry = self._map.get(key)
        if entry is not None and entry.dead(self.clock()):
            self._remove(entry)
            self.expired += 1
            return None
        return entry

    def put(
        self,
        key: Any,
        value: Any,
        ttl: float,
        stale_while_revalidate: float = 0.0,
        stale_if_error: float = 0.0,
        tags: frozenset[str] = frozenset(),
        age: float = 0.0,
    ) -> Entry:
        """Keep `value` for `ttl` seconds; the two windows of staleness begin after that.

        `age`: for how many seconds it has existed already (adds to its Age, not to its expiry).
        """
        old = self._map.get(key)
        entry = Entry(key, value, tags)
        now = self.clock()
        entry.stored_at = now - age
        entry.fresh_until = now + ttl
        entry.stale_until = entry.fresh_until + stale_while_revalidate
        entry.error_until = entry.fresh_until + stale_if_error
        if old is not None:
            self._count(old)
            entry.seen = old.seen  # what was asked for before its renewal will be again
            self._remove(old)
        while len(self._map) >= self.max_entries:
            self._evict(now)
        self._map[key] = entry
        entry.older = self._newest
        if self._newest is not None:
            self._newest.newer = entry
        else:
            self._oldest = entry
        self._newest = entry
        for tag in tags:
            self._by_tag.setdefault(tag, set()).add(key)
        self.stored += 1
        return entry

    def delete(self, key: Any) -> bool:
        entry = self._map.get(key)
        if entry is None:
            return False
        self._remove(entry)
        return True

    def delete_tag(self, tag: str) -> int:
        keys = list(self._by_tag.get(tag, ()))
        for key in keys:
            self._remove(self._map[key])
        return len(keys)

    def delete_matching(self, matches: Callable[[Any], bool]) -> int:
        found = [entry for key, entry in self._map.items() if matches(key)]
        for entry in found:
            self._remove(entry)
        return len(found)

    def clear(self) -> None:
        self._map.clear()
        self._by_tag.clear()
        entry = self._oldest
        while entry is not None:  # a linked list frees itself recursively, unless taken apart
            following = entry.newer
            if entry.copy is not None:
                self._count(entry)
                entry.copy.forget()
                entry.copy = None
            entry.older = entry.newer = None
            entry = following
        self._newest = self._oldest = self._hand = None

    def count(self) -> None:
        """Bring `hits` up to date with what the copies were asked for."""
        for entry in self._map.values():
            self._count(entry)

    def _count(self, entry: Entry) -> None:
        if entry.copy is not None:
            hits = entry.copy.take_hits()
            if hits:
                self.hits += hits
                entry.seen = True

    def _evict(self, now: float) -> None:
        entry = self._hand if self._hand is not None else self._oldest
        steps = 0
        while entry is not None:
            self._count(entry)
            if entry.dead(now):
                self.expired += 1
                break
            if not entry.seen or steps >= HAND_STEPS:
                self.evicted += 1
                break
            entry.seen = False
            steps += 1
            entry = entry.newer if entry.newer is not None else self._oldest
        if entry is None:
            raise RuntimeError("the store is full and empty")  # its own bookkeeping is broken
        self._hand = entry.newer
        self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        del self._map[entry.key]
        if entry.copy is not None:
            self._count(entry)
            entry.copy.forget()
            entry.copy = None
        if self._hand is entry:
            self._hand = entry.newer
        if entry.older is not None:
            entry.older.newer = entry.newer
        else:
            self._oldest = entry.newer
        if entry.newer is not None:
            entry.newer.older = entry.older
        else:
            self._newest = entry.older
        entry.older = entry.newer = None
        for tag in entry.tags:
            keys = self._by_tag[tag]
            keys.discard(entry.key)
            if not keys:
                del self._by_tag[tag]
