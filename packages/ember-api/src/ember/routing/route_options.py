"""The options of routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ember.cache import Cache
    from ember.limits import RouteLimits


class RouteOptions(TypedDict, total=False):
    """The options of every route decorator, besides the path."""

    #: For `url_for` and `ember routes`; default: the name of the handler.
    name: str | None
    #: The status of a response that has none of its own; default: 200 (204 for None).
    status_code: int | None
    #: Limits for body size and time, for this route.
    limits: RouteLimits | None
    #: Run a `def` handler on the loop. It must not block.
    inline: bool
    #: Middlewares around this route; see `ember.middleware`.
    middlewares: Iterable[Any]
    tags: Iterable[str]
    summary: str | None
    deprecated: bool
    include_in_schema: bool
    #: Stores the responses to GET: StaticCache, TTLCache, RedisCache or MemcachedCache.
    cache: Cache | None
