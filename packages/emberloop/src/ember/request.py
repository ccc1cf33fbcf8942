"""`Request`: one request, decoded lazily."""

from __future__ import annotations

from ember._build import PURE
from ember.protocol.query import QueryParams

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.pure.request import Request as Request
else:
    from ember.protocol._request import Request

__all__ = ["QueryParams", "Request"]
