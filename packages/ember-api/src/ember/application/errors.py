"""Turns exceptions into responses: error handlers, problem+json bodies (RFC 9457), the log."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from ember._logs import get_logger
from ember.constants import is_number
from ember.exceptions import ClientDisconnected, HTTPError
from ember.request import Request
from ember.response import ProblemResponse, Response
from ember.responses.conversion import convert
from ember.routing.signature import is_async

logger = get_logger("ember.error")
# The other loggers of the framework. The modules get them from `logging`.
for _part in ("background", "binding", "cache", "health", "hooks", "server", "threads", "workers"):
    get_logger(f"ember.{_part}")

#: General classes: a handler for the status is more specific than a handler for one of these.
_GENERAL = (HTTPError, Exception, BaseException, object)
#: A handler for one of these is for failures. An HTTPError is not a failure: code chose it.
_FAILURES = (Exception, BaseException)

Handler = Callable[..., Any]


def abort(status: int, detail: str | None = None) -> NoReturn:
    """End the request with an error status: `abort(404, "no such task")` raises HTTPError."""
    raise HTTPError(status, detail)


class ErrorHandler:
    """A registered error handler.

    `threaded`: it is a plain function that may block, and runs in the thread pool. `general`: it
    handles unexpected errors.
    """

    __slots__ = ("_count", "_handler", "general", "owner", "threaded")

    def __init__(
        self, what: int | type[BaseException], handler: Handler, inline: bool = False
    ) -> None:
        self._handler = handler
        self.threaded = not inline and not is_async(handler)
        name = getattr(handler, "__qualname__", repr(handler))
        self.owner = f"error handler {name}"
        #: It handles unexpected errors (500, Exception). They are logged anyway.
        self.general = what == 500 or what is Exception
        self._count = _count_arguments(handler, self.owner)

    def call(self, request: Request, error: BaseException) -> Any:
        """Call the handler with (request, error) or (request)."""
        return self._handler(request, error) if self._count == 2 else self._handler(request)

    def call_handling(self, request: Request, error: BaseException) -> Any:
        """`call` for a thread: there, too, `sys.exception()` is the error."""
        traceback = error.__traceback__
        try:
            raise error
        except BaseException:  # noqa: BLE001 - it was caught already
            error.__traceback__ = traceback
            return self.call(request, error)


def _count_arguments(handler: Handler, owner: str) -> int:
    parameters = inspect.signature(handler).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    empty = inspect.Parameter.empty
    needed = [p for p in parameters if p.default is empty and p.kind is not p.VAR_KEYWORD]
    count = sum(1 for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    if count == 0 or len(needed) > 2 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise TypeError(f"{owner} takes (request, error) or (request)")
    return min(count, 2)


class ErrorHandlers:
    """The handlers of `@app.handle(...)`, by status and by exception class."""

    def __init__(self) -> None:
        self._by_status: dict[int, ErrorHandler] = {}
        self._by_type: dict[type[BaseException], ErrorHandler] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._by_status or self._by_type)

    def add(self, what: int | type[BaseException], handler: Handler, inline: bool = False) -> None:
        """Register `handler` for a status (400 to 599) or an exception class and its subclasses."""
        if isinstance(what, type) and issubclass(what, Exception):
            self._by_type[what] = ErrorHandler(what, handler, inline)
        elif is_number(what) and 400 <= what <= 599:
            self._by_status[int(what)] = ErrorHandler(int(what), handler, inline)
        else:
            raise TypeError(
                f"handle({what!r}): expected a status from 400 to 599 or a subclass of Exception"
            )

    def find(self, error: BaseException, status: int) -> ErrorHandler | None:
        """The most specific handler for `error`, or None. A handler for Exception does not handle
        an HTTPError: a 404 or a 422 is not a failure."""
        classes = type(error).__mro__
        specific = [cls for cls in classes if cls not in _GENERAL]
        for cls in specific:
            if cls in self._by_type:
                return self._by_type[cls]
        if status in self._by_status:
            return self._by_status[status]
        if isinstance(error, HTTPError):
            classes = tuple(cls for cls in classes if cls not in _FAILURES)
        return next((self._by_type[cls] for cls in classes if cls in self._by_type), None)


def status_of(error: BaseException) -> int:
    """The status of the response to an exception: that of an HTTPError, or 500."""
    return error.status if isinstance(error, HTTPError) else 500


def log_failure(request: Request, error: BaseException, owner: str) -> None:
    """Log an error with its traceback, request, handler and request id."""
    if isinstance(error, ClientDisconnected):
        logger.info("%s %s: the client left", request.method, request.path)
        return
    logger.error(
        "%s %s failed in %s [request %s]: %s: %s",
        request.method,
        request.path,
        owner,
        request.id,
        type(error).__name__,
        error,
        exc_info=error,
    )


def default_response(request: Request, error: BaseException, debug: bool) -> Response:
    """The response if there is no error handler: that of the HTTPError, or a 500 without details.

    It has the id of the request, which is also in the log."""
    if isinstance(error, HTTPError):
        return ProblemResponse(
            error.status,
            error.detail,
            headers=error.headers or None,
            extensions={**(getattr(error, "extensions", None) or {}), "request_id": request.id},
        )
    if debug and "text/html" in (request.headers.get("accept") or ""):
        from ember.responses.debug_page import render

        return render(request, error)
    return ProblemResponse(500, extensions={"request_id": request.id})


async def awaited_response(
    value: Awaitable[Any], error: BaseException, status: int, owner: str
) -> Response:
    """The response of an `async def` error handler. In it, `sys.exception()` is the error."""
    traceback = error.__traceback__
    try:
        raise error
    except BaseException:  # noqa: BLE001 - it was caught already
        error.__traceback__ = traceback
        result = await value
        if inspect.isawaitable(result):  # a plain function around an `async def`
            result = await result
        return convert(result, status, owner)
