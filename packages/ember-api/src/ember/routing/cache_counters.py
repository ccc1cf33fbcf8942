"""Statistics of the cache of one route."""

from __future__ import annotations

from dataclasses import dataclass

from ember.protocol import Tally


@dataclass(frozen=True, slots=True)
class RouteCacheStats:
    """Counters since the route was declared; `route.cache_stats` gives them.

    Evictions are counted by the cache, for all its routes: `route.cache.stats()`.
    """

    hits: int = 0
    """Requests that got a fresh stored response."""
    stale: int = 0
    """Requests that got a stale stored response, inside its window."""
    misses: int = 0
    """Requests that waited for a call of the handler, made for them or for another request."""
    waits: int = 0
    """Those of `misses` that waited for a call made for another request."""
    stored: int = 0
    """Responses that were stored."""
    refused: int = 0
    """Responses of the handler that may not be stored or not be shared."""
    passed: int = 0
    """Requests that did not use the cache: `no-cache`, credentials, a body, an unsafe method ..."""
    errors: int = 0
    """Calls of the handler that raised."""
    evicted: int = 0
    """Of the whole cache: entries that made room for others."""


class Counters:
    """The counters behind RouteCacheStats. Plain attributes: counting is cheap."""

    __slots__ = (
        "errors",
        "hits",
        "misses",
        "passed",
        "refused",
        "stale",
        "stored",
        "tally",
        "waits",
    )

    def __init__(self) -> None:
        self.hits = self.stale = self.misses = self.waits = 0
        self.stored = self.refused = self.passed = self.errors = 0
        #: Counts the hits that the connection sent by itself.
        self.tally = Tally()

    def snapshot(self, evicted: int) -> RouteCacheStats:
        """The counts now."""
        return RouteCacheStats(
            hits=self.hits + self.tally.hits,
            stale=self.stale,
            misses=self.misses,
            waits=self.waits,
            stored=self.stored,
            refused=self.refused,
            passed=self.passed,
            errors=self.errors,
            evicted=evicted,
        )
