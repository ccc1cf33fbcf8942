"""Hooks that run when the server starts and stops.

Each process that serves runs them once, in this order:

1. `BEFORE_SERVER_START` hooks, in the order of registration
2. `lifespan` context managers are entered, in the order of registration
3. the sockets listen; `AFTER_SERVER_START` hooks
4. on stop: no new connections, requests in flight finish (at most `shutdown_timeout`)
5. `BEFORE_SERVER_STOP` hooks, in the order of registration
6. `lifespan` context managers are exited, in reverse order
7. `AFTER_SERVER_STOP` hooks, in the order of registration

So every request can use what step 1 or 2 opened. If a hook of step 1 to 3 fails, the process ends
with the reason. If a hook of step 5 to 7 fails, the error is logged and the other hooks run.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ember._interrupts import from_signal
from ember.application.components import Components

logger = logging.getLogger("ember.hooks")

Hook = Callable[..., Any]


class Events(enum.Enum):
    """The moments at which hooks run."""

    BEFORE_SERVER_START = "before_server_start"
    AFTER_SERVER_START = "after_server_start"
    BEFORE_SERVER_STOP = "before_server_stop"
    AFTER_SERVER_STOP = "after_server_stop"
    #: Takes `request`. If it returns a value, it is the response.
    BEFORE_ENDPOINT = "before_endpoint"
    #: Takes `request, response`, also after errors. If it returns a value, it is sent instead.
    AFTER_ENDPOINT = "after_endpoint"


#: The events of requests, and the parameters of their hooks.
ENDPOINT_EVENTS = {
    Events.BEFORE_ENDPOINT: ("request",),
    Events.AFTER_ENDPOINT: ("request", "response"),
}


class HookError(Exception):
    """A hook with wrong parameters, or for a wrong event. Raised when the hook is registered."""


def unknown_event(event: object) -> HookError:
    """The error for a value that is not an event."""
    names = ", ".join(f"Events.{e.name}" for e in Events)
    return HookError(f"hook({event!r}): expected one of {names}")


def check_endpoint_hook(event: Events, hook: Hook) -> str:
    """The name of a request hook in messages. Raises HookError if its parameters are wrong."""
    owner = f"hook {getattr(hook, '__qualname__', repr(hook)).replace('<locals>.', '')}"
    wanted = ENDPOINT_EVENTS[event]
    try:
        inspect.signature(hook).bind(*wanted)
    except TypeError:
        expected = ", ".join(wanted)
        raise HookError(f"{owner}: a hook of Events.{event.name} takes ({expected})") from None
    return owner


def _argument(hook: Hook, what: str) -> str | None:
    """The argument of `hook`: "components", "app" or None. Raises HookError for more parameters."""
    empty = inspect.Parameter.empty
    parameters = [
        p
        for p in inspect.signature(hook).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is empty
    ]
    if len(parameters) > 1:
        names = ", ".join(p.name for p in parameters)
        raise HookError(f"{what} takes `components`, `app` or nothing, not ({names})")
    if not parameters:
        return None
    return "app" if parameters[0].name == "app" else "components"


class Lifecycle:
    """Registers and runs the start and stop hooks of an application."""

    def __init__(self, app: object, components: Components) -> None:
        self._arguments = {"app": app, "components": components}
        self._hooks: dict[Events, list[tuple[Hook, str | None]]] = {e: [] for e in Events}
        self._lifespans: list[tuple[Hook, str | None]] = []
        self._stack: AsyncExitStack | None = None

    def add(self, event: Events, hook: Hook) -> None:
        """Run `hook` at `event`."""
        if not isinstance(event, Events):
            raise unknown_event(event)
        name = getattr(hook, "__name__", repr(hook))
        self._hooks[event].append((hook, _argument(hook, f"hook {name}()")))

    def add_lifespan(self, manager: Hook) -> None:
        """Enter the async context manager of `manager` at start, and exit it at stop.

        `manager` may also be an async generator function with one `yield`.
        """
        name = getattr(manager, "__name__", repr(manager))
        argument = _argument(manager, f"lifespan {name}()")
        if inspect.isasyncgenfunction(manager):
            manager = asynccontextmanager(manager)
        self._lifespans.append((manager, argument))

    async def start(self) -> None:
        """Run steps 1 and 2. If one fails, exit the entered lifespans and raise its error."""
        self._stack = stack = AsyncExitStack()
        try:
            await self.run(Events.BEFORE_SERVER_START)
            for manager, argument in self._lifespans:
                await stack.enter_async_context(self._invoke(manager, argument))
        except BaseException:
            self._stack = None
            await stack.aclose()
            raise

    async def run(self, event: Events) -> None:
        """Run the hooks of a start event. Raises the error of the first that fails."""
        for hook, argument in self._hooks[event]:
            await self._call(hook, argument)

    async def started(self) -> None:
        """Run the hooks of step 3. Raises the error of the first that fails."""
        await self.run(Events.AFTER_SERVER_START)

    async def stop(self) -> None:
        """Run steps 5 to 7. Every error is logged, and the next step runs.

        If this is cancelled, because the time to stop is over, the current hook is cancelled, the
        other hooks run, and CancelledError is raised at the end.
        """
        stopped = [await self._run_all(Events.BEFORE_SERVER_STOP)]
        stack, self._stack = self._stack, None
        if stack is not None:
            stopped.append(
                await _logged(stack.aclose(), "a lifespan failed while the server stopped")
            )
        stopped.append(await self._run_all(Events.AFTER_SERVER_STOP))
        if any(stopped):
            raise asyncio.CancelledError

    async def _run_all(self, event: Events) -> bool:
        """Run the hooks of a stop event. Returns whether this task was cancelled meanwhile."""
        stopped = False
        for hook, argument in self._hooks[event]:
            name = getattr(hook, "__name__", repr(hook))
            running = self._call(hook, argument)
            stopped |= await _logged(running, "%s hook %s() failed", event.value, name)
        return stopped

    async def _call(self, hook: Hook, argument: str | None) -> None:
        result = self._invoke(hook, argument)
        if inspect.isawaitable(result):
            await result

    def _invoke(self, hook: Hook, argument: str | None) -> Any:
        return hook() if argument is None else hook(self._arguments[argument])


async def _logged(running: Awaitable[None], message: str, *args: object) -> bool:
    """Await `running` and log its error. Returns whether this task was cancelled meanwhile. Only an
    exception from a signal is raised."""
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        await running
    except BaseException as error:
        if from_signal(error):
            raise
        logger.exception(message, *args)
        stopped = isinstance(error, asyncio.CancelledError)
        return stopped and task is not None and task.cancelling() > before
    return False
