"""Statistics of the cache of one route."""

from __future__ import annotations

from dataclasses import dataclass

from ember.protocol import Tally


@dataclass(frozen=True, slots=True)
class RouteCacheStats:
    """Counters since the route was declared; `route.cache_stats` gives them.

    What is evicted is counted where it happens: `route.cache.stats()`, for all routes that share
    the cache.
    """

    hits: int = 0
    """Answered with a fresh answer."""
    stale: int = 0
    """Answered with a stale one, inside its window."""
    misses: int = 0
    """Requests that had to wait for the handler, called for them or for another one."""
    waits: int = 0
    """Those of `misses` that waited for a call that another one's request began."""
    stored: int = 0
    """Answers that were handed to the cache."""
    refused: int = 0
    """Answers of the handler that may not be kept, or not be shared."""
    passed: int = 0
    """Requests that went by the cache: `no-cache`, credentials, a body, an unsafe method ..."""
    errors: int = 0
    """Calls of the handler that raised."""
    evicted: int = 0
    """Of the whole cache: entries that made room for others."""


class Counters:
    """The running counts behind RouteCacheStats; plain attributes, as cheap as counting can be."""

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
        #: of answers that the connection gave by itself
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
