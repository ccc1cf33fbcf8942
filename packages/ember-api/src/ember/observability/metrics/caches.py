"""Copies the counters of route caches into the metrics region."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ember.protocol.telemetry.series import Series
    from ember.routing.route import Route

#: The outcomes by their names in `/metrics` and in `route.cache_stats`.
OUTCOMES = (("hit", "hits"), ("stale", "stale"), ("miss", "misses"), ("pass", "passed"))


class Caches:
    """Adds the new counts of the caches of `routes()` to `series`."""

    def __init__(self, series: Series, routes: Callable[[], Iterable[Route]]) -> None:
        self._series = series
        self._routes = routes
        self._last: dict[tuple[str, tuple[str, ...], tuple[str, ...], str], int] = {}

    def publish(self) -> None:
        """Add the counts since the last call. Called once a second, and for a scrape."""
        words = self._series.words
        for route in self._routes():
            stats = None if route.cache is None else route.cache_stats
            if stats is None:
                continue
            for outcome, attribute in OUTCOMES:
                key = (route.path, route.methods, route.hosts, outcome)
                count: int = getattr(stats, attribute)
                more = count - self._last.get(key, 0)
                self._last[key] = count
                at = self._series.cache(route.path, outcome)
                if at is not None:
                    # Less than before: the route was made again and counts from 0.
                    words[at] += more if more >= 0 else count
