"""Ember: a web framework that owns its whole stack.

`from ember import Ember` is the start. Every name is loaded when it is first used, so that `import
ember` stays light; the other distributions put their modules into the same namespace.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

# What pkgutil.extend_path does. That brings typing and re, most of what `import ember` would take.
for _folder in sys.path:
    if (_spec := PathFinder.find_spec(__name__, [_folder])) is not None:
        __path__ += [p for p in _spec.submodule_search_locations or () if p not in __path__]

# First of all: it decides where the other modules come from.
from ember import _build as _build  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.application import Ember as Ember
    from ember.background import BackgroundTasks as BackgroundTasks
    from ember.binding import InvalidRequest as InvalidRequest
    from ember.blueprint import Blueprint as Blueprint
    from ember.cache import MemcachedCache as MemcachedCache
    from ember.cache import RedisCache as RedisCache
    from ember.cache import StaticCache as StaticCache
    from ember.cache import TTLCache as TTLCache
    from ember.cache import cached as cached
    from ember.components import Components as Components
    from ember.compression import CompressionMiddleware as CompressionMiddleware
    from ember.errors import abort as abort
    from ember.exceptions import BadRequest as BadRequest
    from ember.exceptions import ClientDisconnected as ClientDisconnected
    from ember.exceptions import Conflict as Conflict
    from ember.exceptions import Forbidden as Forbidden
    from ember.exceptions import GatewayTimeout as GatewayTimeout
    from ember.exceptions import HTTPError as HTTPError
    from ember.exceptions import InternalServerError as InternalServerError
    from ember.exceptions import MethodNotAllowed as MethodNotAllowed
    from ember.exceptions import NotFound as NotFound
    from ember.exceptions import PayloadTooLarge as PayloadTooLarge
    from ember.exceptions import ServiceUnavailable as ServiceUnavailable
    from ember.exceptions import TooManyRequests as TooManyRequests
    from ember.exceptions import Unauthorized as Unauthorized
    from ember.exceptions import UnprocessableEntity as UnprocessableEntity
    from ember.exceptions import UnsupportedMediaType as UnsupportedMediaType
    from ember.files import FileResponse as FileResponse
    from ember.headers import Headers as Headers
    from ember.hooks import Events as Events
    from ember.into_response import UnsupportedReturn as UnsupportedReturn
    from ember.limits import RouteLimits as RouteLimits
    from ember.limits import ServerLimits as ServerLimits
    from ember.multipart import FormData as FormData
    from ember.params import Body as Body
    from ember.params import Cookie as Cookie
    from ember.params import Depends as Depends
    from ember.params import File as File
    from ember.params import Form as Form
    from ember.params import Header as Header
    from ember.params import Path as Path
    from ember.params import Query as Query
    from ember.request import Request as Request
    from ember.request_ids import RequestIDFilter as RequestIDFilter
    from ember.request_ids import RequestIDMiddleware as RequestIDMiddleware
    from ember.response import HTMLResponse as HTMLResponse
    from ember.response import JSONResponse as JSONResponse
    from ember.response import ProblemResponse as ProblemResponse
    from ember.response import RedirectResponse as RedirectResponse
    from ember.response import Response as Response
    from ember.response import StreamingResponse as StreamingResponse
    from ember.response import TextResponse as TextResponse
    from ember.router import RouteError as RouteError
    from ember.routes import Route as Route
    from ember.routing import delete as delete
    from ember.routing import get as get
    from ember.routing import head as head
    from ember.routing import options as options
    from ember.routing import patch as patch
    from ember.routing import post as post
    from ember.routing import put as put
    from ember.routing import route as route
    from ember.server import StartError as StartError
    from ember.sse import ServerSentEvent as ServerSentEvent
    from ember.sse import SSEResponse as SSEResponse
    from ember.telemetry import OpenTelemetryMiddleware as OpenTelemetryMiddleware
    from ember.templates import Templates as Templates
    from ember.token_stream import SSEWriter as SSEWriter
    from ember.token_stream import TokenStreamResponse as TokenStreamResponse
    from ember.token_stream import sse_stream as sse_stream
    from ember.upload import UploadFile as UploadFile

if "EMBER_WORKER" in os.environ:  # a worker: what it imports next may hang
    from ember.workers.place import Place as _Place

    _Place.watch_import()

__version__ = "0.1.0"

_HOMES = {
    "BackgroundTasks": "ember.background",
    "BadRequest": "ember.exceptions",
    "Blueprint": "ember.blueprint",
    "Body": "ember.params",
    "ClientDisconnected": "ember.exceptions",
    "Components": "ember.components",
    "CompressionMiddleware": "ember.compression",
    "Conflict": "ember.exceptions",
    "Cookie": "ember.params",
    "Depends": "ember.params",
    "Ember": "ember.application",
    "Events": "ember.hooks",
    "File": "ember.params",
    "FileResponse": "ember.files",
    "Forbidden": "ember.exceptions",
    "Form": "ember.params",
    "FormData": "ember.multipart",
    "GatewayTimeout": "ember.exceptions",
    "HTMLResponse": "ember.response",
    "HTTPError": "ember.exceptions",
    "Header": "ember.params",
    "Headers": "ember.headers",
    "InternalServerError": "ember.exceptions",
    "InvalidRequest": "ember.binding",
    "JSONResponse": "ember.response",
    "MemcachedCache": "ember.cache",
    "MethodNotAllowed": "ember.exceptions",
    "NotFound": "ember.exceptions",
    "OpenTelemetryMiddleware": "ember.telemetry",
    "Path": "ember.params",
    "PayloadTooLarge": "ember.exceptions",
    "ProblemResponse": "ember.response",
    "Query": "ember.params",
    "RedirectResponse": "ember.response",
    "RedisCache": "ember.cache",
    "Request": "ember.request",
    "RequestIDFilter": "ember.request_ids",
    "RequestIDMiddleware": "ember.request_ids",
    "Response": "ember.response",
    "Route": "ember.routes",
    "RouteError": "ember.router",
    "RouteLimits": "ember.limits",
    "SSEResponse": "ember.sse",
    "SSEWriter": "ember.token_stream",
    "ServerLimits": "ember.limits",
    "ServerSentEvent": "ember.sse",
    "ServiceUnavailable": "ember.exceptions",
    "StartError": "ember.server",
    "StaticCache": "ember.cache",
    "StreamingResponse": "ember.response",
    "TTLCache": "ember.cache",
    "Templates": "ember.templates",
    "TextResponse": "ember.response",
    "TokenStreamResponse": "ember.token_stream",
    "TooManyRequests": "ember.exceptions",
    "Unauthorized": "ember.exceptions",
    "UnprocessableEntity": "ember.exceptions",
    "UnsupportedMediaType": "ember.exceptions",
    "UnsupportedReturn": "ember.into_response",
    "UploadFile": "ember.upload",
    "abort": "ember.errors",
    "cached": "ember.cache",
    "delete": "ember.routing",
    "get": "ember.routing",
    "head": "ember.routing",
    "options": "ember.routing",
    "patch": "ember.routing",
    "post": "ember.routing",
    "put": "ember.routing",
    "route": "ember.routing",
    "sse_stream": "ember.token_stream",
}

__all__ = [
    "BackgroundTasks",
    "BadRequest",
    "Blueprint",
    "Body",
    "ClientDisconnected",
    "Components",
    "CompressionMiddleware",
    "Conflict",
    "Cookie",
    "Depends",
    "Ember",
    "Events",
    "File",
    "FileResponse",
    "Forbidden",
    "Form",
    "FormData",
    "GatewayTimeout",
    "HTMLResponse",
    "HTTPError",
    "Header",
    "Headers",
    "InternalServerError",
    "InvalidRequest",
    "JSONResponse",
    "MemcachedCache",
    "MethodNotAllowed",
    "NotFound",
    "OpenTelemetryMiddleware",
    "Path",
    "PayloadTooLarge",
    "ProblemResponse",
    "Query",
    "RedirectResponse",
    "RedisCache",
    "Request",
    "RequestIDFilter",
    "RequestIDMiddleware",
    "Response",
    "Route",
    "RouteError",
    "RouteLimits",
    "SSEResponse",
    "SSEWriter",
    "ServerLimits",
    "ServerSentEvent",
    "ServiceUnavailable",
    "StartError",
    "StaticCache",
    "StreamingResponse",
    "TTLCache",
    "Templates",
    "TextResponse",
    "TokenStreamResponse",
    "TooManyRequests",
    "Unauthorized",
    "UnprocessableEntity",
    "UnsupportedMediaType",
    "UnsupportedReturn",
    "UploadFile",
    "__version__",
    "abort",
    "cached",
    "delete",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "route",
    "sse_stream",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
