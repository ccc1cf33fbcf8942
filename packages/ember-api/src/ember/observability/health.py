"""`/healthz` (liveness) and `/readyz` (readiness: whether the process should get requests now).

Orchestrators request them by address and without credentials: so only the middleware for ids is
around them, and the error of a failed check goes to the log, not into the response.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from ember._interrupts import from_signal
from ember.limits import RouteLimits
from ember.request import Request
from ember.response import JSONResponse, ProblemResponse, Response
from ember.routing.route import Route
from ember.routing.signature import REQUEST, Plan

if TYPE_CHECKING:
    from ember.concurrency.threads import ThreadPool

logger = logging.getLogger("ember.health")

#: The default timeout of a readiness check, in seconds.
TIMEOUT = 5.0
#: The health routes respond also when the server is overloaded.
_NEVER_SHED = RouteLimits(shed=False)


class ReadinessCheck:
    """One readiness check. `run()` returns "ok" or the kind of failure.

    A plain function runs in the thread pool. If it blocks longer than its timeout, it is not called
    again before it has returned: so probes cannot fill the pool.
    """

    def __init__(self, check: Callable[[], Any], name: str, timeout: float) -> None:
        self.check = check
        self.name = name
        self.timeout = timeout
        self._waits = inspect.iscoroutinefunction(check)
        self._blocked: asyncio.Future[Any] | None = None

    async def run(self, pool: Callable[[], ThreadPool]) -> str:
        """Run the check. Its errors are not raised."""
        if self._blocked is not None and not self._blocked.done():
            return "failed: has not come back from an earlier call"
        try:
            async with asyncio.timeout(self.timeout) as time:
                result = await (self.check() if self._waits else self._in_thread(pool))
                if inspect.isawaitable(result):
                    result = await result
        except BaseException as error:
            if _is_told(error):
                raise
            if isinstance(error, Exception) and time.expired():
                logger.warning("readiness check %s: no result within %g s", self.name, self.timeout)
                return f"failed: no result within {self.timeout:g} s"
            logger.warning("readiness check %s failed", self.name, exc_info=error)
            return f"failed: {type(error).__name__}"
        if result is None or result:
            return "ok"
        logger.warning("readiness check %s returned %r", self.name, result)
        return f"failed: returned {type(result).__name__}"

    async def _in_thread(self, pool: Callable[[], ThreadPool]) -> Any:
        call = asyncio.ensure_future(pool().run(self._call))
        self._blocked = call
        try:
            result = await asyncio.shield(call)
            if isinstance(result, _Ends):
                raise result.error
            return result
        finally:
            if call.done():
                self._blocked = None
            else:
                call.add_done_callback(_seen)

    def _call(self) -> Any:
        try:
            return self.check()
        except (SystemExit, KeyboardInterrupt) as error:
            return _Ends(error)  # if a task raised it, the loop would end


class _Ends:
    """An exception that would end the loop, if a task raised it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _is_told(error: BaseException) -> bool:
    """Whether the task that runs the check was told to end; then the check has not failed."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit) or from_signal(error)


def _seen(call: asyncio.Future[Any]) -> None:
    # Nobody awaits it any more. Its timeout was logged.
    if not call.cancelled():
        call.exception()


class Health:
    """The health checks of an application and their paths."""

    def __init__(self, healthz_url: str | None, readyz_url: str | None) -> None:
        self.healthz_url = healthz_url
        self.readyz_url = readyz_url
        self.checks: list[ReadinessCheck] = []
        for name, url in (("healthz_url", healthz_url), ("readyz_url", readyz_url)):
            if url is not None and not (isinstance(url, str) and url.startswith("/")):
                raise TypeError(f"{name}={url!r}: expected a path such as /{name[:-4]}, or None")

    def add(self, check: Callable[[], Any], name: str | None, timeout: float) -> None:
        """Add a readiness check. Raises TypeError or ValueError for an invalid check."""
        if not callable(check):
            raise TypeError(f"add_readiness_check({check!r}): expected a function")
        name = name or str(getattr(check, "__name__", type(check).__name__))
        owner = f'readiness check "{name}"'
        try:
            signature = inspect.signature(check)
        except ValueError:
            pass  # a C function without a signature
        else:
            try:
                signature.bind()
            except TypeError:
                raise TypeError(f"{owner}: expected a function without parameters") from None
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
            raise ValueError(f"{owner}: timeout={timeout!r}; expected seconds, more than 0")
        if any(other.name == name for other in self.checks):
            raise ValueError(f"{owner}: the name is taken; choose another with name=")
        self.checks.append(ReadinessCheck(check, name, timeout))

    async def healthz(self) -> Response:
        """200: the event loop runs."""
        return _not_stored(JSONResponse({"status": "ok"}))

    async def readyz(
        self, request: Request, server: object, pool: Callable[[], ThreadPool]
    ) -> Response:
        """200 if all checks pass; otherwise a 503 with problem+json that lists the checks."""
        if getattr(server, "draining", False):
            return _problem(request, "the server is stopping", {})
        if server is not None and not getattr(server, "started", True):
            return _problem(request, "the server is starting", {})
        results = (
            await asyncio.gather(*(check.run(pool) for check in self.checks)) if self.checks else []
        )
        checks = {check.name: result for check, result in zip(self.checks, results, strict=True)}
        failed = [name for name, result in checks.items() if result != "ok"]
        if failed:
            return _problem(request, f"not ready: {', '.join(failed)}", checks)
        return _not_stored(JSONResponse({"status": "ready", "checks": checks}))


def _problem(request: Request, detail: str, checks: dict[str, str]) -> Response:
    extensions = {"checks": checks, "request_id": request.id}
    return _not_stored(ProblemResponse(503, detail, extensions=extensions))


def _not_stored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def health_routes(
    health: Health,
    taken: set[str],
    server: Callable[[], object],
    pool: Callable[[], ThreadPool],
    middlewares: Iterable[object],
) -> list[tuple[Route, Plan]]:
    """The routes of `health`, without those whose path is in `taken`."""

    async def readyz(request: Request) -> Response:
        return await health.readyz(request, server(), pool)

    wanted: list[tuple[str | None, Callable[..., Awaitable[Response]], Plan]] = [
        (health.healthz_url, health.healthz, Plan([], ())),
        (health.readyz_url, readyz, Plan([REQUEST], ())),
    ]
    return [
        (
            Route(
                path,
                handler,
                ("GET",),
                limits=_NEVER_SHED,
                middlewares=middlewares,
                include_in_schema=False,
            ),
            plan,
        )
        for path, handler, plan in wanted
        if path is not None and path not in taken
    ]
