"""What runs when the server starts and stops.

The order, once per process that serves:

1. `BEFORE_SERVER_START` hooks, in the order of registration
2. `lifespan` context managers are entered, in the order of registration
3. the sockets listen; `AFTER_SERVER_START` hooks
4. on stop: no new connections, requests in flight finish (at most `shutdown_timeout`)
5. `BEFORE_SERVER_STOP` hooks, in the order of registration
6. `lifespan` context managers are left, in reverse
7. `AFTER_SERVER_STOP` hooks, in the order of registration

What step 1 or 2 opened is therefore usable by every request, to the last one. A hook of step 1 to 3
that fails ends the process with its reason; a hook of step 5 to 7 that fails is logged and the
others still run.
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
    """Moments at which an application's hooks run."""

    BEFORE_SERVER_START = "before_server_start"
    AFTER_SERVER_START = "after_server_start"
    BEFORE_SERVER_STOP = "before_server_stop"
    AFTER_SERVER_STOP = "after_server_stop"
    #: Gets `request`; what it returns, unless None, is the answer.
    BEFORE_ENDPOINT = "before_endpoint"
    #: Gets `request, response`, those of errors too; what it returns, unless None, is sent instead.
    AFTER_ENDPOINT = "after_endpoint"


#: The events of requests, and what their hooks get.
ENDPOINT_EVENTS = {
    Events.BEFORE_ENDPOINT: ("request",),
    Events.AFTER_ENDPOINT: ("request", "response"),
}


class HookError(Exception):
    """A hook that cannot be called as it is written; raised when it is registered."""


def unknown_event(event: object) -> HookError:
    """The error for what is no event."""
    names = ", ".join(f"Events.{e.name}" for e in Events)
    return HookError(f"hook({event!r}): expected one of {names}")


def check_endpoint_hook(event: Events, hook: Hook) -> str:
    """How messages name a hook of requests; HookError when it cannot be called."""
    owner = f"hook {getattr(hook, '__qualname__', repr(hook)).replace('<locals>.', '')}"
    wanted = ENDPOINT_EVENTS[event]
    try:
        inspect.signature(hook).bind(*wanted)
    except TypeError:
        expected = ", ".join(wanted)
        raise HookError(f"{owner}: a hook of Events.{event.name} takes ({expected})") from None
    return owner


def _argument(hook: Hook, what: str) -> str | None:
    """What `hook` is called with: `components`, `app` or nothing; HookError when it wants more."""
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
    """The start and stop hooks of an application, and how they are run."""

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
        """Enter the async context manager that `manager` makes at start, leave it at stop.

        An async generator function with one `yield` is taken for one.
        """
        name = getattr(manager, "__name__", repr(manager))
        argument = _argument(manager, f"lifespan {name}()")
        if inspect.isasyncgenfunction(manager):
            manager = asynccontextmanager(manager)
        self._lifespans.append((manager, argument))

    async def start(self) -> None:
        """Steps 1 and 2; when one fails, what was entered is left again and the error goes on."""
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
        """Run the hooks of a start event; the first that fails ends it."""
        for hook, argument in self._hooks[event]:
            await self._call(hook, argument)

    async def started(self) -> None:
        """The hooks of step 3; the first that fails ends it."""
        await self.run(Events.AFTER_SERVER_START)

    async def stop(self) -> None:
        """Steps 5 to 7. Each failure is logged, whatever was raised, and the next step runs.

        Cancelled, as when the time to stop is over, it gives up the hook under way, runs the others
        and raises CancelledError then.
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
        """Whether it was cancelled meanwhile."""
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
    """Await `running`, and log what it raises; whether this task was cancelled meanwhile. Only what
    a signal raises goes on."""
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
