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
    from ember.application.application import Ember as Ember
    from ember.application.blueprint import Blueprint as Blueprint
    from ember.application.components import Components as Components
    from ember.application.errors import abort as abort
    from ember.application.hooks import Events as Events
    from ember.binding import InvalidRequest as InvalidRequest
    from ember.binding.markers import Body as Body
    from ember.binding.markers import Cookie as Cookie
    from ember.binding.markers import Depends as Depends
    from ember.binding.markers import File as File
    from ember.binding.markers import Form as Form
    from ember.binding.markers import Header as Header
    from ember.binding.markers import Path as Path
    from ember.binding.markers import Query as Query
    from ember.cache import MemcachedCache as MemcachedCache
    from ember.cache import RedisCache as RedisCache
    from ember.cache import StaticCache as StaticCache
    from ember.cache import TTLCache as TTLCache
    from ember.cache import cached as cached
    from ember.concurrency.background import BackgroundTasks as BackgroundTasks
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
    from ember.forms.multipart import FormData as FormData
    from ember.forms.upload import UploadFile as UploadFile
    from ember.headers import Headers as Headers
    from ember.limits import RouteLimits as RouteLimits
    from ember.limits import ServerLimits as ServerLimits
    from ember.middleware.compression import CompressionMiddleware as CompressionMiddleware
    from ember.middleware.request_ids import RequestIDFilter as RequestIDFilter
    from ember.middleware.request_ids import RequestIDMiddleware as RequestIDMiddleware
    from ember.observability.telemetry import OpenTelemetryMiddleware as OpenTelemetryMiddleware
    from ember.request import Request as Request
    from ember.response import HTMLResponse as HTMLResponse
    from ember.response import JSONResponse as JSONResponse
    from ember.response import ProblemResponse as ProblemResponse
    from ember.response import RedirectResponse as RedirectResponse
    from ember.response import Response as Response
    from ember.response import StreamingResponse as StreamingResponse
    from ember.response import TextResponse as TextResponse
    from ember.responses.conversion import UnsupportedReturn as UnsupportedReturn
    from ember.responses.files import FileResponse as FileResponse
    from ember.responses.sse import ServerSentEvent as ServerSentEvent
    from ember.responses.sse import SSEResponse as SSEResponse
    from ember.responses.templates import Templates as Templates
    from ember.responses.token_stream import SSEWriter as SSEWriter
    from ember.responses.token_stream import TokenStreamResponse as TokenStreamResponse
    from ember.responses.token_stream import sse_stream as sse_stream
    from ember.routing.decorators import delete as delete
    from ember.routing.decorators import get as get
    from ember.routing.decorators import head as head
    from ember.routing.decorators import options as options
    from ember.routing.decorators import patch as patch
    from ember.routing.decorators import post as post
    from ember.routing.decorators import put as put
    from ember.routing.decorators import route as route
    from ember.routing.route import Route as Route
    from ember.routing.router import RouteError as RouteError
    from ember.server.run import StartError as StartError

if "EMBER_WORKER" in os.environ:  # a worker: what it imports next may hang
    from ember.server.workers.context import WorkerContext as _WorkerContext

    _WorkerContext.watch_import()

__version__ = "0.1.0"

_HOMES = {
    "BackgroundTasks": "ember.concurrency.background",
    "BadRequest": "ember.exceptions",
    "Blueprint": "ember.application.blueprint",
    "Body": "ember.binding.markers",
    "ClientDisconnected": "ember.exceptions",
    "Components": "ember.application.components",
    "CompressionMiddleware": "ember.middleware.compression",
    "Conflict": "ember.exceptions",
    "Cookie": "ember.binding.markers",
    "Depends": "ember.binding.markers",
    "Ember": "ember.application.application",
    "Events": "ember.application.hooks",
    "File": "ember.binding.markers",
    "FileResponse": "ember.responses.files",
    "Forbidden": "ember.exceptions",
    "Form": "ember.binding.markers",
    "FormData": "ember.forms.multipart",
    "GatewayTimeout": "ember.exceptions",
    "HTMLResponse": "ember.response",
    "HTTPError": "ember.exceptions",
    "Header": "ember.binding.markers",
    "Headers": "ember.headers",
    "InternalServerError": "ember.exceptions",
    "InvalidRequest": "ember.binding",
    "JSONResponse": "ember.response",
    "MemcachedCache": "ember.cache",
    "MethodNotAllowed": "ember.exceptions",
    "NotFound": "ember.exceptions",
    "OpenTelemetryMiddleware": "ember.observability.telemetry",
    "Path": "ember.binding.markers",
    "PayloadTooLarge": "ember.exceptions",
    "ProblemResponse": "ember.response",
    "Query": "ember.binding.markers",
    "RedirectResponse": "ember.response",
    "RedisCache": "ember.cache",
    "Request": "ember.request",
    "RequestIDFilter": "ember.middleware.request_ids",
    "RequestIDMiddleware": "ember.middleware.request_ids",
    "Response": "ember.response",
    "Route": "ember.routing.route",
    "RouteError": "ember.routing.router",
    "RouteLimits": "ember.limits",
    "SSEResponse": "ember.responses.sse",
    "SSEWriter": "ember.responses.token_stream",
    "ServerLimits": "ember.limits",
    "ServerSentEvent": "ember.responses.sse",
    "ServiceUnavailable": "ember.exceptions",
    "StartError": "ember.server.run",
    "StaticCache": "ember.cache",
    "StreamingResponse": "ember.response",
    "TTLCache": "ember.cache",
    "Templates": "ember.responses.templates",
    "TextResponse": "ember.response",
    "TokenStreamResponse": "ember.responses.token_stream",
    "TooManyRequests": "ember.exceptions",
    "Unauthorized": "ember.exceptions",
    "UnprocessableEntity": "ember.exceptions",
    "UnsupportedMediaType": "ember.exceptions",
    "UnsupportedReturn": "ember.responses.conversion",
    "UploadFile": "ember.forms.upload",
    "abort": "ember.application.errors",
    "cached": "ember.cache",
    "delete": "ember.routing.decorators",
    "get": "ember.routing.decorators",
    "head": "ember.routing.decorators",
    "options": "ember.routing.decorators",
    "patch": "ember.routing.decorators",
    "post": "ember.routing.decorators",
    "put": "ember.routing.decorators",
    "route": "ember.routing.decorators",
    "sse_stream": "ember.responses.token_stream",
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
