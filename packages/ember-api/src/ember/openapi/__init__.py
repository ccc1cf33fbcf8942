"""OpenAPI 3.1 from the annotations that validate, and a page that shows it.

`document(app)` is the description as a dict; `app.openapi_url` and `app.docs_url` serve it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ember.openapi.interfaces import DescribedApp

__all__ = ["document"]


def document(app: DescribedApp) -> dict[str, Any]:
    """The OpenAPI 3.1 description of every route with `include_in_schema`.

    Raises RouteError for an annotation that cannot be resolved or has no JSON Schema.
    """
    from ember.openapi.builder import build

    return build(app)
