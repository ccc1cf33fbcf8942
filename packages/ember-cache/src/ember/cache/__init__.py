"""Caches with single flight for asyncio: in this process, in Redis, in Memcached.

Usable on any async function (`@cached(TTLCache(ttl=5))`); the clients of the remote stores are
imported when they are first needed, never by importing this module.
"""

from ember.cache.backends.memcached import MemcachedCache
from ember.cache.backends.redis import RedisCache
from ember.cache.base import Admit, Cache, CacheStats, Found, Lifetime
from ember.cache.decorator import CachedFunction, cached
from ember.cache.local import StaticCache, TTLCache
from ember.cache.serializer import (
    BytesSerializer,
    JSONSerializer,
    MsgpackSerializer,
    Serializer,
)
from ember.cache.singleflight import SingleFlight, WorkCancelled

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
