"""OpenAPI 3.1: a document that is made from the annotations of handlers, and a page that shows it.

`document(app)` returns the document as a dict. `app.openapi_url` and `app.docs_url` serve it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ember.openapi.interfaces import DescribedApp

__all__ = ["document"]


def document(app: DescribedApp) -> dict[str, Any]:
    """The OpenAPI 3.1 document with every route that has `include_in_schema`.

    Raises RouteError for an annotation that cannot be resolved or has no JSON Schema.
    """
    from ember.openapi.builder import build

    return build(app)
