"""What a handler returns: `Response` and its kinds. They are data; the connection sends them."""

from __future__ import annotations

from ember.protocol.message._response import Response as Response
from ember.protocol.message.responses import HTMLResponse as HTMLResponse
from ember.protocol.message.responses import JSONResponse as JSONResponse
from ember.protocol.message.responses import ProblemResponse as ProblemResponse
from ember.protocol.message.responses import RedirectResponse as RedirectResponse
from ember.protocol.message.responses import StreamingResponse as StreamingResponse
from ember.protocol.message.responses import TextResponse as TextResponse

__all__ = [
    "HTMLResponse",
    "JSONResponse",
    "ProblemResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
    "TextResponse",
]
