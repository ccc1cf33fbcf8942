"""The parts of a blueprint that its routes use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ember.limits import RouteLimits
    from ember.routing.middleware_spec import MiddlewareSpec


class Scope(Protocol):
    """A blueprint or an application: what its routes have in common."""

    tags: tuple[str, ...]
    route_limits: RouteLimits | None

    @property
    def middlewares(self) -> Sequence[MiddlewareSpec]:
        """The middlewares around each of its routes, in order."""
