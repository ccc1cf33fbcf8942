"""`Request`: one request, decoded lazily."""

from __future__ import annotations

from ember._build import PURE
from ember.protocol.message.query import QueryParams

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.message.pure.request import Request as Request
else:
    from ember.protocol.message._request import Request

__all__ = ["QueryParams", "Request"]
