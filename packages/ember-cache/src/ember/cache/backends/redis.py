"""`RedisCache`, by redis-py."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from ember.cache.backends.base import LEASE, STAMP_SIZE, Backend, Seen, Want, Write, placeholder
from ember.cache.base import count
from ember.cache.key import redis_glob
from ember.cache.serializer import Serializer
from ember.cache.shared import SharedCache

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

__all__ = ["RedisBackend", "RedisCache"]

T = TypeVar("T")

# A tag is a sorted set of its keys with the time at which each will be gone, so that what is gone
# can be taken out as new keys come in: it never holds more than what is alive. In the scripts
# tags come first: what cannot be tagged must not be stored.
_TAG = """
local function tag(first, milliseconds)
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  for i = first, #KEYS do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    redis.call('ZADD', KEYS[i], now + milliseconds, KEYS[1])
    if redis.call('PTTL', KEYS[i]) < tonumber(milliseconds) then
      redis.call('PEXPIRE', KEYS[i], milliseconds)
    end
  end
end
"""

# KEYS: the key, its tags. ARGV: the placeholder, its milliseconds.
_BEGIN = (
    _TAG
    + """
local there = redis.call('GET', KEYS[1])
if there and there ~= '' then return there end
tag(2, ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
)

# KEYS: the key, its tags. ARGV: the stamp that has to be there or '', the record, its milliseconds.
_WRITE = (
    _TAG
    + f"""
if ARGV[1] ~= '' and redis.call('GETRANGE', KEYS[1], 0, {STAMP_SIZE - 1}) ~= ARGV[1] then
  return 0
end
tag(2, ARGV[3])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
)

# KEYS: the tag. In steps, since a call takes a bounded number of arguments.
_DELETE_TAG = """
local keys = redis.call('ZRANGE', KEYS[1], 0, -1)
for i = 1, #keys, 1000 do
  redis.call('UNLINK', unpack(keys, i, math.min(i + 999, #keys)))
end
redis.call('UNLINK', KEYS[1])
return #keys
"""

_UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""

SCHEMES = ("redis", "rediss", "unix")


class RedisBackend(Backend):
    """One Redis (not a cluster), a pool of connections, opened when first used."""

    def __init__(self, url: str, prefix: str, pool_size: int, deadline: float) -> None:
        if importlib.util.find_spec("redis") is None:
            raise ImportError("RedisCache needs redis-py: pip install 'ember-cache[redis]'")
        from redis.exceptions import ResponseError

        self.refusals = (ResponseError,)
        self._url = url
        self._prefix = prefix
        self._pool_size = pool_size
        self._deadline = deadline
        self._client: Redis | None = None

    @property
    def name(self) -> str:
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"

    async def read(self, wants: Sequence[Want]) -> list[Seen | None]:
        keys = [self._at(want.key) for want in wants]
        values: Any = await self._ask(lambda client: client.mget(keys))
        return [_seen(value) if value else None for value in values]

    async def begin(self, wants: Sequence[Want]) -> list[Seen | None]:
        lease = int(LEASE * 1000)

        def ask(client: Redis) -> Awaitable[list[Any]]:
            pipeline = client.pipeline(transaction=False)
            for want in wants:
                keys = self._keys(want.key, want.tags)
                pipeline.eval(_BEGIN, len(keys), *keys, placeholder(), lease)
            return _all(pipeline)

        return [_seen(value) for value in await self._ask(ask)]

    async def write(self, writes: Sequence[Write]) -> list[bool]:
        def ask(client: Redis) -> Awaitable[list[Any]]:
            pipeline = client.pipeline(transaction=False)
            for write in writes:
                keys = self._keys(write.key, write.tags)
                stamp: Any = b"" if write.stamp is None else write.stamp
                milliseconds = max(1, math.ceil(write.seconds * 1000))
                pipeline.eval(_WRITE, len(keys), *keys, stamp, write.record, milliseconds)
            return _all(pipeline)

        return [done == 1 for done in await self._ask(ask)]

    async def delete(self, key: str) -> None:
        await self._ask(lambda client: client.unlink(self._at(key)))

    async def delete_tag(self, tag: str) -> None:
        await self._ask(lambda client: _eval(client, _DELETE_TAG, self._tag(tag)))

    async def delete_pattern(self, pattern: str) -> None:
        await self._ask(lambda client: self._delete_pattern(client, pattern))

    async def _delete_pattern(self, client: Redis, pattern: str) -> None:
        # A scan gives every key that is there from its beginning to its end, and a computation that
        # began before has its placeholder at the very key where its value would come.
        glob = redis_glob(self._prefix).replace("*", "\\*").replace("?", "\\?")
        found: list[bytes] = []
        async for key in client.scan_iter(
            match=_bytes(f"{glob}v:{redis_glob(pattern)}"), count=1000
        ):
            found.append(key)
            if len(found) == 1000:
                await client.unlink(*found)
                found.clear()
        if found:
            await client.unlink(*found)

    async def lock(self, key: str, seconds: float) -> bytes | None:
        token = os.urandom(16)
        milliseconds = max(1, math.ceil(seconds * 1000))
        at = self._lock(key)
        taken = await self._ask(lambda client: client.set(at, token, nx=True, px=milliseconds))
        return token if taken else None

    async def unlock(self, key: str, token: bytes) -> None:
        await self._ask(lambda client: _eval(client, _UNLOCK, self._lock(key), token))

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose(close_connection_pool=True)

    def forget(self) -> None:
        self._client = None

    async def _ask(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        """What `question(client)` gives."""
        client = self._redis()
        try:
            return await question(client)
        finally:
            if client is not self._client:
                # Closed meanwhile, perhaps before our connection was there to be closed with it.
                await client.connection_pool.disconnect()

    def _redis(self) -> Redis:
        if self._client is None:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            options: dict[str, Any] = {
                "max_connections": self._pool_size,
                "timeout": self._deadline,
                "socket_connect_timeout": self._deadline,
                "retry": Retry(NoBackoff(), 0),  # when to try again is the guard's business
                "decode_responses": False,
            }
            self._client = Redis.from_pool(BlockingConnectionPool.from_url(self._url, **options))
        return self._client

    def _at(self, key: str) -> bytes:
        return _bytes(f"{self._prefix}v:{key}")

    def _tag(self, tag: str) -> bytes:
        return _bytes(f"{self._prefix}t:{tag}")

    def _lock(self, key: str) -> bytes:
        return _bytes(f"{self._prefix}l:{key}")

    def _keys(self, key: str, tags: Iterable[str]) -> list[bytes]:
        return [self._at(key), *map(self._tag, tags)]


def _eval(client: Redis, script: str, key: bytes, *values: bytes) -> Awaitable[Any]:
    done: Any = client.eval(script, 1, key, *values)
    return cast(Awaitable[Any], done)


async def _all(pipeline: Pipeline) -> list[Any]:
    results: list[Any] = await pipeline.execute(raise_on_error=False)
    for result in results:
        if isinstance(result, Exception):
            raise result  # as Redis said it, without the whole script
    return results


def _bytes(name: str) -> bytes:
    # A key may come from a client: one that UTF-8 has no bytes for must not look like an outage.
    return name.encode("utf-8", "surrogatepass")


def _seen(value: bytes) -> Seen:
    return Seen(value if value[:1] == b"V" else None, value[:STAMP_SIZE])


class RedisCache(SharedCache):
    """Keeps values in Redis for `ttl` seconds, for all processes that use the same `key_prefix`.

    `url`: `redis://[[user]:password@]host[:port][/db]`, `rediss://` (TLS) or `unix://`.
    `max_size`: bytes of the largest value that is stored. `deadline`: seconds that an operation may
    take before it counts as failed. `lock`: seconds for which one process may hold the others up
    while it computes a missing value; None: each process computes once. `serializer`: see
    `ember.cache.serializer`. `pool_size`: connections. `vary_headers`, `key_fn`, `tags` as for
    every cache.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        ttl: float = 30,
        key_prefix: str = "ember:",
        vary_headers: Iterable[str] = (),
        max_size: int = 1024 * 1024,
        key_fn: Callable[..., str] | None = None,
        *,
        deadline: float = 0.25,
        lock: float | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        serializer: Serializer | None = None,
        pool_size: int = 16,
    ) -> None:
        if not isinstance(url, str) or urlsplit(url).scheme not in SCHEMES:
            raise ValueError(
                f"RedisCache(url={url!r}): expected redis://host:6379, rediss:// or unix:///path"
            )
        if not isinstance(key_prefix, str):
            raise TypeError(f"RedisCache(key_prefix={key_prefix!r}): a str")
        backend = RedisBackend(
            url, key_prefix, count("RedisCache", "pool_size", pool_size), deadline
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
            lock=lock,
        )
