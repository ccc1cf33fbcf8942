"""Caches with single flight for asyncio: in this process, in Redis, in Memcached.

Usable on any async function (`@cached(TTLCache(ttl=5))`); the clients of the remote stores are
imported when they are first needed, never by importing this module.
"""

from __future__ import annotations

from ember.cache.base import Admit, Cache, CacheStats, Found, Lifetime
from ember.cache.decorator import CachedFunction, cached
from ember.cache.local import StaticCache, TTLCache
from ember.cache.singleflight import SingleFlight, WorkCancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.cache.backends.memcached import MemcachedCache
    from ember.cache.backends.redis import RedisCache
    from ember.cache.serializer import (
        BytesSerializer,
        JSONSerializer,
        MsgpackSerializer,
        Serializer,
    )

# What only remote stores need is loaded when it is first asked for: it takes 0.5 MiB of memory.
_HOMES = {
    "BytesSerializer": "ember.cache.serializer",
    "JSONSerializer": "ember.cache.serializer",
    "MemcachedCache": "ember.cache.backends.memcached",
    "MsgpackSerializer": "ember.cache.serializer",
    "RedisCache": "ember.cache.backends.redis",
    "Serializer": "ember.cache.serializer",
}

__all__ = [
    "Admit",
    "BytesSerializer",
    "Cache",
    "CacheStats",
    "CachedFunction",
    "Found",
    "JSONSerializer",
    "Lifetime",
    "MemcachedCache",
    "MsgpackSerializer",
    "RedisCache",
    "Serializer",
    "SingleFlight",
    "StaticCache",
    "TTLCache",
    "WorkCancelled",
    "cached",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value
