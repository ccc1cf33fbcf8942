"""What all caches over a remote store have in common: `RedisCache`, `MemcachedCache`."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from ember.cache import serializer as serializers
from ember.cache.backends.base import Backend, Record, Seen, Want, Write
from ember.cache.backends.batch import Batcher
from ember.cache.backends.guard import FAILED, Failed, Guard
from ember.cache.base import (
    Admit,
    Cache,
    CacheStats,
    Found,
    Lifetime,
    admitted,
    count,
    one_of,
    seconds,
)
from ember.cache.key import matcher, tag_set
from ember.cache.singleflight import Alone, Flight, SingleFlight

__all__ = ["SharedCache"]

log = logging.getLogger("ember.cache")

# Seconds; a store takes no more for a time to live than it can count (ten years will do).
LONGEST = 10 * 365 * 24 * 3600.0
# Invalidations kept for the store's return; more than that and everything is invalidated then.
PENDING = 1000
# How often somebody looks whether the holder of the lock is done: seconds, doubled each time.
LOCK_POLL = (0.005, 0.1)

Read = Callable[[Any], Any]


class SharedCache(Cache):
    """Values in a store that other processes share; single flight in each process.

    A store that fails, or is slower than `deadline` seconds, is a miss and never an error. What a
    caller gets has been through the serializer whether it was kept or just computed, so that both
    look alike.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        ttl: float,
        max_size: int,
        deadline: float,
        serializer: serializers.Serializer | None,
        vary_headers: Iterable[str],
        key_fn: Callable[..., str] | None,
        tags: Iterable[str] | Callable[..., Iterable[str]],
        lock: float | None = None,
    ) -> None:
        super().__init__(vary_headers=vary_headers, key_fn=key_fn, tags=tags)
        self._me = type(self).__name__
        self.ttl = self._ttl(f"{self._me}", ttl)
        self.max_size = count(self._me, "max_size", max_size)
        self.lock = None if lock is None else seconds(self._me, "lock", lock)
        self.serializer = serializers.default() if serializer is None else serializer
        self.backend = backend
        self.guard = Guard(
            f"{self._me} ({backend.name})",
            seconds(self._me, "deadline", deadline),
            refusals=backend.refusals,
            recover=self._catch_up,
            reset=backend.close,
        )
        self.flights = SingleFlight()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reads = Batcher[Want, "Seen | None"](partial(self._guarded, backend.read))
        self._begins = Batcher[Want, "Seen | None"](partial(self._guarded, backend.begin))
        self._writes = Batcher[Write, bool](partial(self._guarded, backend.write))
        self._pending: list[tuple[str, str]] = []
        self._unwritable: set[type] = set()
        self._unreadable_until = -math.inf
        self._hits = self._misses = self._failed = self._stored = self._refused = 0
        self._invalidations = self._alone = 0

    async def fetch(
        self,
        key: str,
        compute: Callable[[], Awaitable[Any]],
        *,
        tags: Iterable[str] = (),
        admit: Admit | None = None,
        read: Read | None = None,
    ) -> Found:
        """As for every cache. `read` gets each value that comes from the store and gives what the
        caller is to have; None, or an error, is for a value that is not as it should be: it counts
        as missing, and what is computed takes its place."""
        self._bind()
        want = Want(key, tag_set(tags, self._me) if tags else frozenset())
        seen = await self._look(self._reads, want)
        found = self._found(seen, read)
        if found is None and seen is None:
            seen = await self._look(self._begins, want)
            found = self._found(seen, read)  # another process has been faster
        if found is not None:
            self._hits += 1
            return found
        self._misses += 1
        # Those who saw the same thing at the key share the work. After an invalidation, here or in
        # another process, something else lies there.
        stamp = seen.stamp if isinstance(seen, Seen) else None

        async def work(flight: Flight | None) -> Any:
            return await self._work(flight, want, stamp, compute, admit, read)

        result: Found = await self.flights.do((key, stamp), work, tags=want.tags)
        return result

    async def get(self, key: str, default: Any = None) -> Any:
        self._bind()
        found = self._found(await self._look(self._reads, Want(key, frozenset())))
        if found is None:
            self._misses += 1
            return default
        self._hits += 1
        return found.value

    async def set(
        self, key: str, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Raises what the serializer raises for a value that it cannot write, and ValueError for
        one of more than `max_size` bytes. A store that fails is no error."""
        self._bind()
        given = self.ttl if ttl is None else self._ttl(f"{self._me}.set", ttl)
        payload = self.serializer.dumps(value)
        if len(payload) > self.max_size:
            raise ValueError(
                f"{self._me}.set({key!r}): {len(payload)} bytes, max_size is {self.max_size}"
            )
        self.flights.drop(lambda flight: _key(flight) == key)
        write = self._write(key, tag_set(tags, self._me), None, payload, Lifetime(given))
        # Not through the batcher: a missing reply must be told from a refusal.
        done = await self.guard.run(lambda: self.backend.write([write]), vital=True)
        if isinstance(done, Failed):
            self._remember("key", key)  # the older value must not come back
        elif done[0]:
            self._stored += 1
        else:
            self._refused += 1
            await self.invalidate(key=key)

    async def invalidate(
        self, *, key: str | None = None, pattern: str | None = None, tag: str | None = None
    ) -> None:
        """As for every cache. While the store is away the invalidation is kept, and carried out
        before anything is read from the store again by this process."""
        kind, what = one_of(self._me, key, pattern, tag)
        self._bind()
        self._invalidations += 1
        matches = matcher(what)
        if kind == "key":
            self.flights.drop(lambda flight: _key(flight) == what)
        elif kind == "tag":
            self.flights.drop(lambda flight: what in flight.tags)
        else:
            self.flights.drop(lambda flight: matches(_key(flight)))
        if isinstance(await self.guard.run(lambda: self._apply(kind, what), vital=True), Failed):
            self._remember(kind, what)

    def stats(self) -> CacheStats:
        return CacheStats(
            hits=self._hits,
            misses=self._misses,
            computed=self.flights.started + self._alone,
            failed=self._failed,
            stored=self._stored,
            refused=self._refused,
            invalidations=self._invalidations,
            store_failures=self.guard.failures,
        )

    async def connect(self) -> None:
        """Try to reach the store. Raises nothing if that fails: one line in the log says so."""
        self._bind()
        await self._look(self._reads, Want("", frozenset()))

    async def close(self) -> None:
        self._bind()
        await self.flights.close()
        for batcher in (self._reads, self._begins, self._writes):
            await batcher.close()
        if self._pending:
            log.warning(
                "%s: closed with %d invalidations that the store has not seen",
                self.guard.name,
                len(self._pending),
            )
        try:
            async with asyncio.timeout(self.guard.deadline):
                await self.backend.close()
        except Exception:
            log.debug("closing the connections of %s failed", self.guard.name, exc_info=True)

    def _bind(self) -> None:
        """Connections belong to the loop that they were made on."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None:
            self.backend.forget()
            self._reads = Batcher(partial(self._guarded, self.backend.read))
            self._begins = Batcher(partial(self._guarded, self.backend.begin))
            self._writes = Batcher(partial(self._guarded, self.backend.write))
        self._loop = loop

    async def _guarded(self, op: Callable[[Any], Awaitable[Any]], batch: Sequence[Any]) -> Any:
        async def ask() -> Any:
            replies = await op(batch)
            if len(replies) != len(batch):
                raise ConnectionError(f"{len(replies)} replies to {len(batch)} questions")
            return replies

        return await self.guard.run(ask)

    async def _look(self, batcher: Batcher[Want, Any], want: Want) -> Seen | Failed | None:
        if self.guard.shut:
            return FAILED
        return cast("Seen | Failed | None", await batcher.ask(want, want))

    def _found(self, seen: Seen | Failed | None, read: Read | None = None) -> Found | None:
        if not isinstance(seen, Seen) or seen.record is None:
            return None
        record = Record.decode(seen.record)
        now = time.time()
        if record is None or now >= record.expires or record.codec != self.serializer.name:
            return None
        try:
            value = self.serializer.loads(record.payload)
            if read is not None:
                value = read(value)
        except Exception:
            # Whatever it raises, there is no value; one line a minute, not one for each request.
            if time.monotonic() >= self._unreadable_until:
                self._unreadable_until = time.monotonic() + 60.0
                log.warning("%s: a stored value cannot be read", self.guard.name, exc_info=True)
            return None
        if read is not None and value is None:
            return None
        return Found(value, "HIT", max(0.0, now - record.created))

    async def _work(
        self,
        flight: Flight | None,
        want: Want,
        stamp: Any,
        compute: Callable[[], Awaitable[Any]],
        admit: Admit | None,
        read: Read | None,
    ) -> Any:
        if flight is None:
            self._alone += 1
        if flight is None or stamp is None or self.lock is None:
            return await self._compute(flight, want, stamp, compute, admit)
        token = await self._take_lock(want, read)
        if isinstance(token, Found):
            return token
        try:
            return await self._compute(flight, want, stamp, compute, admit)
        finally:
            if token is not None:
                await self.guard.run(lambda: self.backend.unlock(want.key, token))

    async def _compute(
        self,
        flight: Flight | None,
        want: Want,
        stamp: Any,
        compute: Callable[[], Awaitable[Any]],
        admit: Admit | None,
    ) -> Any:
        try:
            value = await compute()
        except Exception:
            self._failed += 1
            raise
        lifetime = admitted(admit, value)
        if lifetime is None or not (lifetime.ttl is None or lifetime.ttl > 0):
            self._refused += 1
            return Alone(Found(value, "MISS", 0.0))
        written = self._dumps(want.key, value)
        if written is None:
            self._refused += 1
            return Found(value, "MISS", lifetime.age)
        payload, value = written
        found = Found(value, "MISS", lifetime.age)
        if flight is None or flight.dropped or stamp is None or len(payload) > self.max_size:
            self._refused += 1
            return found
        write = self._write(want.key, want.tags, stamp, payload, lifetime)
        if self.guard.shut or await self._writes.ask((want.key, stamp), write) is not True:
            self._refused += 1
        else:
            self._stored += 1
        return found

    def _dumps(self, key: str, value: Any) -> tuple[bytes, Any] | None:
        """The value as bytes, and as it will be read from them."""
        try:
            payload = bytes(memoryview(self.serializer.dumps(value)))
            return payload, self.serializer.loads(payload)
        except Exception:
            kind = type(value)
            if kind not in self._unwritable:
                self._unwritable.add(kind)
                log.exception(
                    "%s: the value of %r, a %s, cannot be written as %s and is not stored; "
                    "pass a serializer= that can",
                    self.guard.name,
                    key,
                    kind.__name__,
                    self.serializer.name,
                )
            return None

    def _write(
        self, key: str, tags: frozenset[str], stamp: Any, payload: bytes, lifetime: Lifetime
    ) -> Write:
        ttl = min(LONGEST, self.ttl if lifetime.ttl is None else lifetime.ttl)
        now = time.time()
        record = Record(now - lifetime.age, now + ttl, self.serializer.name, payload)
        return Write(key, tags, stamp, record.encode(), ttl)

    async def _take_lock(self, want: Want, read: Read | None) -> bytes | Found | None:
        """The lock's token; or the value that its holder has stored meanwhile; or None, when the
        store is away or the lock's time is over: then everybody computes."""
        if self.lock is None:
            return None
        pause, longest = LOCK_POLL
        end = time.monotonic() + self.lock
        lock = self.lock
        while True:
            token = await self.guard.run(lambda: self.backend.lock(want.key, lock))
            if token is not None:
                return None if isinstance(token, Failed) else token
            if time.monotonic() >= end:
                return None
            await asyncio.sleep(pause)
            pause = min(longest, pause * 2)
            found = self._found(await self._look(self._reads, want), read)
            if found is not None:
                return found

    async def _apply(self, kind: str, what: str) -> None:
        if kind == "key":
            await self.backend.delete(what)
        elif kind == "tag":
            await self.backend.delete_tag(what)
        else:
            await self.backend.delete_pattern(what)

    def _remember(self, kind: str, what: str) -> None:
        if (kind, what) not in self._pending:
            self._pending.append((kind, what))
        if len(self._pending) > PENDING:
            self._pending = [("pattern", "*")]

    async def _catch_up(self) -> None:
        while self._pending:
            kind, what = self._pending[0]
            await self._apply(kind, what)
            if self._pending and self._pending[0] == (kind, what):
                del self._pending[0]

    def _ttl(self, whose: str, value: object) -> float:
        ttl = seconds(whose, "ttl", value)
        if math.isinf(ttl):
            raise ValueError(f"{whose}(ttl={value!r}): a store needs an end; give a finite number")
        return ttl


def _key(flight: Flight) -> str:
    return cast("tuple[str, Any]", flight.key)[0]
