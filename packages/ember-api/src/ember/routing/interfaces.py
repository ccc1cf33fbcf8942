"""What a route has to know of the blueprints that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ember.limits import RouteLimits
    from ember.routing.middleware_spec import MiddlewareSpec


class Scope(Protocol):
    """A blueprint, or the application: what its routes have in common."""

    tags: tuple[str, ...]
    route_limits: RouteLimits | None

    @property
    def middlewares(self) -> Sequence[MiddlewareSpec]:
        """Around each of its routes, in order."""
