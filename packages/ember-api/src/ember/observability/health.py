"""`/healthz` and `/readyz`: whether the process lives, and whether it should get requests now.

Orchestrators ask for them, by address and without credentials: no middleware is around them, but
the one that gives ids, and what a failing check said goes to the log and not into the answer.
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

#: Seconds that a readiness check may take, unless it says otherwise.
TIMEOUT = 5.0
#: A server with too much to do still says so to those who ask.
_NEVER_SHED = RouteLimits(shed=False)


class ReadinessCheck:
    """One question that `/readyz` asks; `run()` gives "ok", or what kind of failure it was.

    A plain function runs in the thread pool. One that blocks beyond its time is not called again
    before it has come back, so that probes do not fill the pool.
    """

    def __init__(self, check: Callable[[], Any], name: str, timeout: float) -> None:
        self.check = check
        self.name = name
        self.timeout = timeout
        self._waits = inspect.iscoroutinefunction(check)
        self._blocked: asyncio.Future[Any] | None = None

    async def run(self, pool: Callable[[], ThreadPool]) -> str:
        """Ask. Never raises."""
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
            return _Ends(error)  # the task that waits for the thread must not raise it


class _Ends:
    """What would end the loop, if a task raised it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _is_told(error: BaseException) -> bool:
    """Whether it is not the check that failed, but who asks that is to end."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit) or from_signal(error)


def _seen(call: asyncio.Future[Any]) -> None:
    # Nobody awaits it any more; its time-out was logged.
    if not call.cancelled():
        call.exception()


class Health:
    """What an application says of itself, and the routes where it does."""

    def __init__(self, healthz_url: str | None, readyz_url: str | None) -> None:
        self.healthz_url = healthz_url
        self.readyz_url = readyz_url
        self.checks: list[ReadinessCheck] = []
        for name, url in (("healthz_url", healthz_url), ("readyz_url", readyz_url)):
            if url is not None and not (isinstance(url, str) and url.startswith("/")):
                raise TypeError(f"{name}={url!r}: expected a path such as /{name[:-4]}, or None")

    def add(self, check: Callable[[], Any], name: str | None, timeout: float) -> None:
        """Ask `check` too. Raises TypeError or ValueError for what cannot be asked."""
        if not callable(check):
            raise TypeError(f"add_readiness_check({check!r}): expected a function")
        name = name or str(getattr(check, "__name__", type(check).__name__))
        owner = f'readiness check "{name}"'
        try:
            signature = inspect.signature(check)
        except ValueError:
            pass  # a function of C that does not tell its parameters
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
        """The loop runs: it has answered this."""
        return _answer(JSONResponse({"status": "ok"}))

    async def readyz(
        self, request: Request, server: object, pool: Callable[[], ThreadPool]
    ) -> Response:
        """200 when every check is; 503 problem+json, which lists them, when one is not."""
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
        return _answer(JSONResponse({"status": "ready", "checks": checks}))


def _problem(request: Request, detail: str, checks: dict[str, str]) -> Response:
    extensions = {"checks": checks, "request_id": request.id}
    return _answer(ProblemResponse(503, detail, extensions=extensions))


def _answer(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def health_routes(
    health: Health,
    taken: set[str],
    server: Callable[[], object],
    pool: Callable[[], ThreadPool],
    middlewares: Iterable[object],
) -> list[tuple[Route, Plan]]:
    """The routes of `health`; a route of the application's own, among `taken`, goes before."""

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
