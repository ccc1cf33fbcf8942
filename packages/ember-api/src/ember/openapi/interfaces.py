"""The parts of an application that its OpenAPI document uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ember.routing.route import Route
    from ember.routing.router import Converter


class SharedObjects(Protocol):
    """The components of an application. They are not part of a request."""

    factories: dict[type, Callable[..., Any]]

    def __contains__(self, type: type) -> bool: ...


class DescribedApp(Protocol):
    """An application that has an OpenAPI document."""

    title: str
    version: str
    openapi_url: str | None
    docs_url: str | None

    @property
    def components(self) -> SharedObjects:
        """The components by type."""

    @property
    def _converters(self) -> Mapping[str, Converter]: ...

    @property
    def routes(self) -> Sequence[Route]:
        """Every route."""
