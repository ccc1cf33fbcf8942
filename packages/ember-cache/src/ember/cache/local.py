"""The caches in this process: `TTLCache` and `StaticCache`."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ember.cache.base import Admit, Cache, CacheStats, Found, admitted, count, one_of, seconds
from ember.cache.key import matcher, tag_set
from ember.cache.singleflight import Alone, Flight, SingleFlight, Work
from ember.cache.store import Entry, Store

__all__ = ["LocalCache", "StaticCache", "TTLCache"]

log = logging.getLogger("ember.cache")

# Seconds (or the ttl, if shorter) in which a stale value is given without computing it again after
# that has failed: a failing origin is asked, and logged, once in that time and not for each call.
FAILURE_PAUSE = 1.0


class LocalCache(Cache):
    """A bounded map in this process with single flight.

    Values are handed out as they are, not copied: whoever changes one changes it for all.
    Belongs to one thread.
    """

    def __init__(
        self,
        *,
        ttl: float,
        max_entries: int,
        stale_while_revalidate: float,
        stale_if_error: float,
        vary_headers: Iterable[str],
        key_fn: Callable[..., str] | None,
        tags: Iterable[str] | Callable[..., Iterable[str]],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(vary_headers=vary_headers, key_fn=key_fn, tags=tags)
        me = type(self).__name__
        self.ttl = seconds(me, "ttl", ttl)
        self.stale_while_revalidate = seconds(
            me, "stale_while_revalidate", stale_while_revalidate, zero=True
        )
        self.stale_if_error = seconds(me, "stale_if_error", stale_if_error, zero=True)
        self.store = Store(count(me, "max_entries", max_entries), clock)
        self.flights = SingleFlight()
        self.hit = self.store.hit  # type: ignore[method-assign]  # no frame between
        self._stale = self._misses = self._failed = self._refused = self._invalidations = 0
        self._alone = 0

    async def fetch(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        *,
        tags: Iterable[str] = (),
        admit: Admit | None = None,
    ) -> Found:
        entry = self.store.hit(key)
        if entry is not None:
            return Found(entry.value, "HIT", self._age(entry))
        tags = tag_set(tags, type(self).__name__) if tags else frozenset()

        async def work(flight: Flight | None) -> Any:
            return await self._work(flight, key, compute, tags, admit)

        entry = self.store.get(key)
        if entry is not None:
            now = self.store.clock()
            waiting = now < entry.retry_at  # computing it has just failed
            if now < entry.stale_until or (waiting and now < entry.error_until):
                if not waiting:
                    self._refresh(entry, work, tags)
                self._stale += 1
                return Found(entry.value, "STALE", self._age(entry))
        self._misses += 1
        found: Found = await self.flights.do(key, work, tags=tags)
        return found

    async def get(self, key: str, default: Any = None) -> Any:
        entry = self.store.hit(key)
        if entry is None:
            self._misses += 1
            return default
        return entry.value

    async def set(
        self, key: str, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        me = type(self).__name__
        given = self.ttl if ttl is None else seconds(f"{me}.set", "ttl", ttl)
        self.flights.drop(lambda flight: flight.key == key)
        self.store.put(key, value, given, tags=tag_set(tags, me))

    async def invalidate(
        self, *, key: str | None = None, pattern: str | None = None, tag: str | None = None
    ) -> None:
        kind, what = one_of(type(self).__name__, key, pattern, tag)
        self._invalidations += 1
        if kind == "key":
            self.flights.drop(lambda flight: flight.key == what)
            self.store.delete(what)
        elif kind == "tag":
            self.flights.drop(lambda flight: what in flight.tags)
            self.store.delete_tag(what)
        else:
            matches = matcher(what)
            self.flights.drop(lambda flight: matches(str(flight.key)))
            self.store.delete_matching(matches)

    def clear(self) -> None:
        """Forget everything; what is being computed is not stored."""
        self.flights.drop()
        self.store.clear()

    def stats(self) -> CacheStats:
        store = self.store
        store.count()
        return CacheStats(
            hits=store.hits,
            stale=self._stale,
            misses=self._misses,
            computed=self.flights.started + self._alone,
            failed=self._failed,
            stored=store.stored,
            refused=self._refused,
            evicted=store.evicted,
            expired=store.expired,
            invalidations=self._invalidations,
            entries=len(store),
        )

    async def close(self) -> None:
        await self.flights.close()

    async def _work(
        self,
        flight: Flight | None,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        tags: frozenset[str],
        admit: Admit | None,
    ) -> Any:
        if flight is None:
            self._alone += 1
        try:
            value = await compute()
        except Exception:
            self._failed += 1
            entry = self.store.get(key)
            if entry is None:
                raise
            now = self.store.clock()
            entry.retry_at = now + min(self.ttl, FAILURE_PAUSE)
            if now >= entry.error_until:
                raise
            log.warning("computing %r failed; returning its stale value", key, exc_info=True)
            self._stale += 1
            return Found(entry.value, "STALE", self._age(entry))  # RFC 5861, 4
        lifetime = admitted(admit, value)
        found = Found(value, "MISS", 0.0 if lifetime is None else lifetime.age)
        if flight is None or flight.dropped:
            self._refused += 1
            return Alone(found) if lifetime is None else found
        if lifetime is not None:
            ttl = self.ttl if lifetime.ttl is None else lifetime.ttl
            revalidate, on_error = lifetime.stale_while_revalidate, lifetime.stale_if_error
            revalidate = self.stale_while_revalidate if revalidate is None else revalidate
            on_error = self.stale_if_error if on_error is None else on_error
            if ttl > 0 or revalidate > 0 or on_error > 0:
                self.store.put(key, value, ttl, revalidate, on_error, tags, lifetime.age)
                return found
        # The newest response may not be stored, so an older one must not be served either.
        self._refused += 1
        self.store.delete(key)
        return Alone(found)

    def _refresh(self, entry: Entry, work: Work, tags: frozenset[str]) -> None:
        """RFC 5861, 3: the stale value is given at once and renewed behind the scenes."""
        flight = self.flights.start(entry.key, work, tags=tags)
        if flight is not None and flight.task is not None:
            flight.task.add_done_callback(lambda task: _refreshed(entry.key, task))

    def _age(self, entry: Entry) -> float:
        return max(0.0, self.store.clock() - entry.stored_at)


def _refreshed(key: str, task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.warning("refreshing %r in the background failed", key, exc_info=error)


class TTLCache(LocalCache):
    """Keeps values in this process for `ttl` seconds from when they were computed.

    `max_entries`: the bound; what is asked for least goes first. `stale_while_revalidate`: for that
    many seconds after the ttl a stale value is given at once while one call renews it.
    `stale_if_error`: for that many seconds it is given when computing a new one raises.
    `vary_headers`: request headers that are part of a route's key. `key_fn`: makes the whole key.
    `tags`: list of str, or a function that returns one. `clock`: monotonic seconds.
    """

    def __init__(
        self,
        ttl: float = 1.0,
        max_entries: int = 1024,
        stale_while_revalidate: float = 0,
        stale_if_error: float = 0,
        *,
        vary_headers: Iterable[str] = (),
        key_fn: Callable[..., str] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            ttl=ttl,
            max_entries=max_entries,
            stale_while_revalidate=stale_while_revalidate,
            stale_if_error=stale_if_error,
            vary_headers=vary_headers,
            key_fn=key_fn,
            tags=tags,
            clock=clock,
        )


class StaticCache(LocalCache):
    """Keeps a value until it is invalidated: for results that never change.

    `max_entries` bounds it all the same, for routes whose key the client has a say in.
    """

    def __init__(
        self,
        max_entries: int = 1024,
        *,
        vary_headers: Iterable[str] = (),
        key_fn: Callable[..., str] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    ) -> None:
        super().__init__(
            ttl=math.inf,
            max_entries=max_entries,
            stale_while_revalidate=0,
            stale_if_error=0,
            vary_headers=vary_headers,
            key_fn=key_fn,
            tags=tags,
            clock=time.monotonic,
        )
