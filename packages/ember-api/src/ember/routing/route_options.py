"""What the decorators of routes accept besides the path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ember.cache import Cache
    from ember.limits import RouteLimits


class RouteOptions(TypedDict, total=False):
    """What every verb accepts besides the path."""

    #: For `url_for` and `ember routes`; the handler's name when not given.
    name: str | None
    #: The status of an answer that does not bring its own; 200 (204 for None) when not given.
    status_code: int | None
    #: Body size and time of this route alone.
    limits: RouteLimits | None
    #: Run a `def` handler on the loop: for one that never blocks.
    inline: bool
    #: Around this route alone; see `ember.middleware`.
    middlewares: Iterable[Any]
    tags: Iterable[str]
    summary: str | None
    deprecated: bool
    include_in_schema: bool
    #: Keeps the answers to GET: StaticCache, TTLCache, RedisCache or MemcachedCache.
    cache: Cache | None
