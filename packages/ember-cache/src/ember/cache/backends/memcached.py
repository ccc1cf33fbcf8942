"""`MemcachedCache`, by emcache.

Memcached has neither sets nor scans. A tag is therefore a random generation kept under the tag's
name: each value says with which generations it was computed, and counts as missing when one of
them has changed or gone. Keys cannot be listed, so a pattern changes one generation that all values
of this prefix have in common: it invalidates all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import math
import os
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ember.cache.backends.base import LEASE, Backend, Seen, Want, Write, placeholder
from ember.cache.base import count
from ember.cache.serializer import Serializer
from ember.cache.shared import SharedCache

if TYPE_CHECKING:
    from emcache import Client
    from emcache.base import Item

__all__ = ["MemcachedBackend", "MemcachedCache"]

# Memcached takes longer spans for a point in time.
_MONTH = 30 * 24 * 3600
_LONGEST_KEY = 250
_GENERATION = 8
_COUNT = struct.Struct("<cH")


class Stamp(NamedTuple):
    """What a value may be stored over, and the generations that it will be valid with."""

    cas: int
    generations: tuple[tuple[bytes, bytes], ...]


class MemcachedBackend(Backend):
    """One Memcached, a pool of connections, opened when first used."""

    def __init__(self, host: str, port: int, prefix: str, pool_size: int, deadline: float) -> None:
        if importlib.util.find_spec("emcache") is None:
            raise ImportError("MemcachedCache needs emcache: pip install 'ember-cache[memcached]'")
        from emcache import CommandError

        self.refusals = (CommandError,)
        self._host = host
        self._port = port
        self._prefix = prefix
        self._pool_size = pool_size
        self._deadline = deadline
        self._client: Client | None = None
        self._opening: asyncio.Task[Client] | None = None

    @property
    def name(self) -> str:
        return f"memcached://{self._host}:{self._port}"

    async def read(self, wants: Sequence[Want]) -> list[Seen | None]:
        items = await self._items(await self._memcached(), wants)
        return [self._seen(want, items) for want in wants]

    async def begin(self, wants: Sequence[Want]) -> list[Seen | None]:
        client = await self._memcached()
        tags = list(dict.fromkeys(name for want in wants for name in self._tags(want.tags)))
        there = await client.get_many(tags)
        await asyncio.gather(
            *(self._put(client, n, os.urandom(_GENERATION), 0) for n in tags if n not in there)
        )
        items = await self._items(client, wants)
        await asyncio.gather(
            *(self._hold(client, w, items) for w in wants if self._seen(w, items) is None)
        )
        return await self.read(wants)

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        client = await self._memcached()
        return list(await asyncio.gather(*(self._store(client, write) for write in writes)))

    async def delete(self, key: str) -> None:
        client = await self._memcached()
        await self._drop(client, self._at(key))

    async def delete_tag(self, tag: str) -> None:
        client = await self._memcached()
        await self._drop(client, self._tag(tag))

    async def delete_pattern(self, pattern: str) -> None:
        client = await self._memcached()
        await self._drop(client, self._everything)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def forget(self) -> None:
        self._client = None
        self._opening = None

    async def _store(self, client: Client, write: Write) -> bool:
        from emcache import StorageCommandError

        at = self._at(write.key)
        stamp: Any = write.stamp
        if stamp is None:
            [seen] = await self.begin([Want(write.key, write.tags)])
            if seen is None:
                return False
            stamp = seen.stamp
        value = _pack(stamp.generations) + write.record
        exptime = _exptime(write.seconds)
        try:
            if write.stamp is None:
                await client.set(at, value, exptime=exptime)
            else:
                await client.cas(at, value, stamp.cas, exptime=exptime)
        except StorageCommandError:
            return False
        return True

    async def _items(self, client: Client, wants: Sequence[Want]) -> dict[bytes, Item]:
        """What lies at the keys, and every generation that matters to it."""
        asked: dict[bytes, None] = {}
        for want in wants:
            asked[self._at(want.key)] = None
            asked.update(dict.fromkeys(self._tags(want.tags)))
        items = await client.gets_many(list(asked))
        # A value may have tags that whoever asks for it does not know.
        more = {
            name: None
            for want in wants
            if (item := items.get(self._at(want.key))) is not None
            for name, _ in _unpack(item.value)[0]
            if name not in asked
        }
        if more:
            items |= await client.gets_many(list(more))
        return items

    async def _hold(self, client: Client, want: Want, items: dict[bytes, Item]) -> None:
        """A placeholder where there is nothing or nothing valid."""
        tags = self._tags(want.tags)
        generations = [(name, items[name].value) for name in tags if name in items]
        if len(generations) == len(tags):  # else one of them was invalidated in this very moment
            there = items.get(at := self._at(want.key))
            value = _pack(generations) + placeholder()
            await self._put(client, at, value, int(LEASE), there.cas if there else None)

    async def _put(
        self, client: Client, at: bytes, value: bytes, exptime: int, cas: int | None = None
    ) -> None:
        from emcache import StorageCommandError

        try:
            if cas is None:
                await client.add(at, value, exptime=exptime)
            else:
                await client.cas(at, value, cas, exptime=exptime)
        except StorageCommandError:
            return  # another one was faster, which is as good

    async def _drop(self, client: Client, at: bytes) -> None:
        from emcache import NotFoundCommandError

        try:
            await client.delete(at)
        except NotFoundCommandError:
            return

    async def _memcached(self) -> Client:
        if self._client is None:
            from emcache import MemcachedHostAddress, create_client

            # One line per outage is the guard's; emcache would add one per connection.
            logger = logging.getLogger("emcache")
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.ERROR)
            self._client = await create_client(
                [MemcachedHostAddress(self._host, self._port)],
                timeout=None,  # the guard has the deadline
                connection_timeout=self._deadline,
                max_connections=self._pool_size,
                # Nothing in the background: emcache's own attempts to connect come ever later, and
                # its timer for purging outlives the client.
                min_connections=0,
                purge_unused_connections_after=None,
            )
        return self._client

    def _seen(self, want: Want, items: dict[bytes, Item]) -> Seen | None:
        item = items.get(self._at(want.key))
        if item is None or item.cas is None:
            return None
        generations: list[tuple[bytes, bytes]] = []
        for name in self._tags(want.tags):
            now = items.get(name)
            if now is None:
                return None
            generations.append((name, now.value))
        stamp = Stamp(item.cas, tuple(generations))
        computed_with, record = _unpack(item.value)
        for name, generation in computed_with:
            now = items.get(name)
            if now is None or now.value != generation:
                return None
        return Seen(record if record is not None and record[:1] == b"V" else None, stamp)

    @property
    def _everything(self) -> bytes:
        return self._safe("e:", "")

    def _at(self, key: str) -> bytes:
        return self._safe("v:", key)

    def _tag(self, tag: str) -> bytes:
        return self._safe("t:", tag)

    def _tags(self, tags: Iterable[str]) -> list[bytes]:
        return [self._everything, *map(self._tag, sorted(tags))]

    def _safe(self, kind: str, key: str) -> bytes:
        """A key that memcached takes: visible ASCII, not too long; else its digest."""
        name = f"{self._prefix}{kind}{key}"
        if len(name) <= _LONGEST_KEY and name.isascii() and name.isprintable() and " " not in name:
            return name.encode()
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=24)
        return b"#" + digest.hexdigest().encode()


def _pack(generations: Sequence[tuple[bytes, bytes]]) -> bytes:
    parts = [_COUNT.pack(b"G", len(generations))]
    for name, generation in generations:
        parts += (bytes((len(name),)), name, generation)
    return b"".join(parts)


def _unpack(value: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    """The generations that a value was computed with, and its record; None: not a value."""
    if value[:1] != b"G" or len(value) < _COUNT.size:
        return [], None
    _, left = _COUNT.unpack_from(value)
    at = _COUNT.size
    generations: list[tuple[bytes, bytes]] = []
    for _ in range(left):
        size = value[at] if at < len(value) else 0
        end = at + 1 + size + _GENERATION
        if end > len(value):
            return [], None  # cut short: nothing of ours
        generations.append((value[at + 1 : at + 1 + size], value[end - _GENERATION : end]))
        at = end
    return generations, value[at:]


def _exptime(seconds: float) -> int:
    """Whole seconds, rounded up: the record itself says when it really ends."""
    whole = max(1, math.ceil(seconds))
    return whole if whole <= _MONTH else int(time.time()) + whole


class MemcachedCache(SharedCache):
    """Keeps values in Memcached for `ttl` seconds, for all processes with the same `key_prefix`.

    `pool_size`: connections. A pattern invalidates everything under the prefix, since Memcached
    cannot list its keys; a key and a tag are exact. `max_size`: bytes; Memcached itself takes 1 MiB
    with its overhead. Other arguments as for `RedisCache`; there is no lock across processes.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 11211,
        ttl: float = 30,
        pool_size: int = 4,
        *,
        deadline: float = 0.25,
        key_prefix: str = "ember:",
        vary_headers: Iterable[str] = (),
        max_size: int = 1024 * 1024 - 1024,
        key_fn: Callable[..., str] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        serializer: Serializer | None = None,
    ) -> None:
        if not isinstance(host, str) or not host:
            raise TypeError(f"MemcachedCache(host={host!r}): a host name or address")
        if count("MemcachedCache", "port", port) > 65535:
            raise ValueError(f"MemcachedCache(port={port!r}): at most 65535")
        if not isinstance(key_prefix, str) or len(key_prefix) > 100:
            raise TypeError(f"MemcachedCache(key_prefix={key_prefix!r}): a str, at most 100 long")
        backend = MemcachedBackend(
            host, port, key_prefix, count("MemcachedCache", "pool_size", pool_size), deadline
        )
        super().__init__(
            backend,
            ttl=ttl,
            max_size=max_size,
            deadline=deadline,
            serializer=serializer,
            vary_headers=vary_headers,
            key_fn=key_fn,
            tags=tags,
        )
