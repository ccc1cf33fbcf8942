"""What the description of an application needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ember.routing.route import Route
    from ember.routing.router import Converter


class SharedObjects(Protocol):
    """The components of an application, which are no part of a request."""

    factories: dict[type, Callable[..., Any]]

    def __contains__(self, type: type) -> bool: ...


class DescribedApp(Protocol):
    """An application, as its OpenAPI document sees it."""

    title: str
    version: str
    openapi_url: str | None
    docs_url: str | None

    @property
    def components(self) -> SharedObjects:
        """What handlers ask for by its type."""

    @property
    def _converters(self) -> Mapping[str, Converter]: ...

    @property
    def routes(self) -> Sequence[Route]:
        """Every route."""
