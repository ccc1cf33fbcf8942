"""The end of dependencies after a request: generators and per-request components are closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from ember.binding.contexts import RunInThread, in_same_context
from ember.binding.tracked_stream import track
from ember.concurrency.abandoned import wait_for_thread
from ember.concurrency.background import BackgroundTasks, Pending
from ember.concurrency.threads import thread_of
from ember.request import Request
from ember.response import Response

logger = logging.getLogger("ember.binding")

Respond = Callable[[Any], Response]
#: Ends a dependency. The argument is the error of the request, if there was one.
Exit = Callable[[BaseException | None], Awaitable[None]]
#: (its exit, whether its scope is "function", how messages name it)
_Entry = tuple[Exit, bool, str]


class DependencyCleanup:
    """The dependencies that one request has entered. They end in reverse order.

    Dependencies of scope "function" end when the handler has ended, before the response is sent;
    the others after the response.
    """

    __slots__ = ("_background", "_entries", "_pending", "error")

    def __init__(self, pending: Pending | None = None) -> None:
        self._entries: list[_Entry] = []
        self._background: BackgroundTasks | None = None
        self._pending = pending
        #: The error that ended the response while it was sent. It is raised at the `yield`s.
        self.error: BaseException | None = None

    async def enter_async(
        self, generator: AsyncGenerator[Any, Any], function_scope: bool, name: str
    ) -> Any:
        """Start an async generator and return what it yields."""
        try:
            value = await generator.__anext__()
        except StopAsyncIteration:
            raise RuntimeError(f'dependency "{name}" ended without a yield') from None

        async def exit_(error: BaseException | None) -> None:
            try:
                if error is None:
                    await generator.__anext__()
                else:
                    await generator.athrow(error)
            except StopAsyncIteration:
                return
            await generator.aclose()
            raise RuntimeError(f'dependency "{name}" yields more than once')

        self._entries.append((exit_, function_scope, name))
        return value

    async def enter(
        self,
        generator: Generator[Any, Any, Any],
        function_scope: bool,
        name: str,
        run: RunInThread | None = None,
    ) -> Any:
        """Start a generator and return what it yields; with `run`, in a thread."""
        # All parts of a generator run in one context: else it cannot reset its context variables.
        context = copy_context()

        async def exit_(error: BaseException | None) -> None:
            if run is None:
                more = _step(generator, error)
            else:
                more = await in_same_context(context, run, _step, generator, error)
            if more:
                generator.close()
                raise RuntimeError(f'dependency "{name}" yields more than once')

        # Added before the start: if this is cancelled, the thread may still reach the `yield`.
        entry: _Entry = (exit_, function_scope, name)
        self._entries.append(entry)
        try:
            if run is None:
                value = next(generator, _END)
            else:
                value = await in_same_context(context, run, next, generator, _END)
            if value is _END:
                raise RuntimeError(f'dependency "{name}" ended without a yield')
        except BaseException as error:
            if thread_of(error) is None and getattr(generator, "gi_frame", None) is None:
                self._entries.remove(entry)
            raise
        return value

    async def enter_component(self, value: Any, name: str) -> Any:
        """Enter a per-request component: await it and enter its context manager, if it has one.

        A component that is not a context manager is closed by its `aclose` or `close` method."""
        if hasattr(type(value), "__await__"):
            value = await value
        kind = type(value)
        if hasattr(kind, "__aenter__"):
            entered = await value.__aenter__()

            async def exit_(error: BaseException | None) -> None:
                await value.__aexit__(type(error) if error else None, error, None)

        elif hasattr(kind, "__enter__"):
            entered = value.__enter__()

            async def exit_(error: BaseException | None) -> None:
                value.__exit__(type(error) if error else None, error, None)

        else:
            close = getattr(value, "aclose", None) or getattr(value, "close", None)
            if close is None:
                return value
            entered = value

            async def exit_(error: BaseException | None) -> None:
                result = close()
                if hasattr(type(result), "__await__"):
                    await result

        self._entries.append((exit_, False, name))
        return entered

    async def fail(self, request: Request, error: BaseException) -> BaseException:
        """End all dependencies because of `error`. Returns the error to raise: a dependency may
        replace it.

        If a thread of the request still runs, the dependencies end after the response and after the
        thread.
        """
        while self._entries:
            if thread_of(error) is not None:
                wait_for_thread(request, error)
                self.error = error
                self.finish(request, None, None)
                break
            exit_, _, name = self._entries.pop()
            try:
                await exit_(error)
            except BaseException as raised:  # noqa: BLE001 - the caller raises it
                if raised is not error:
                    logger.debug('dependency "%s" replaced %r by %r', name, error, raised)
                    error = raised
        return error

    async def returned(self, result: Any, respond: Respond | None, streams: bool) -> Any:
        """The handler has returned `result`: make the response, then end the dependencies of scope
        "function". An error of a dependency is raised, and becomes the response.

        `streams`: the handler is an async generator; it ends when its stream ends.
        """
        if respond is not None:
            result = respond(result)
        stream = result.stream if isinstance(result, Response) else None
        if not streams or stream is None:
            await self.exit_function_scope()
        if stream is not None and not hasattr(stream, "file_parts"):
            result = result.copy()
            result.stream = track(self, stream)
        return result

    async def exit_function_scope(self) -> None:
        """End the dependencies of scope "function". Raises the error of the first that fails."""
        entries = self._entries
        function_scope = [entry for entry in entries if entry[1]]
        while function_scope:
            entry = function_scope.pop()
            entries.remove(entry)
            await entry[0](None)

    def finish(self, request: Request, result: Any, background: BackgroundTasks | None) -> Any:
        """Let the other dependencies end after the response, and after the background tasks."""
        if self._entries or background:
            self._background = background
            if self._pending is not None:
                self._pending.begin()
            request.after_response(self._after_response)
        return result

    async def _after_response(self) -> None:
        """Run the background tasks, then end the dependencies: the tasks may still use them."""
        try:
            if self._background is not None:
                await self._background()
        except asyncio.CancelledError as error:
            await _ended(error)
            raise
        finally:
            try:
                await self._exit_all(self.error)
            finally:
                if self._pending is not None:
                    self._pending.end()

    async def _exit_all(self, broken: BaseException | None) -> None:
        stopped: BaseException | None = None
        while self._entries:
            exit_, _, name = self._entries.pop()
            try:
                await exit_(broken)
            except Exception as error:
                # The response was sent already: the error is only logged. The error that ended a
                # stream has been logged.
                if error is not broken:
                    logger.exception('dependency "%s" failed after the response', name)
            except BaseException as error:  # noqa: BLE001 - cancelled: the others end first
                if error is not broken:
                    stopped = error
                    await _ended(error)
        if stopped is not None:
            raise stopped


_END: Any = object()


async def _ended(error: BaseException) -> None:
    """Wait for the thread that `error` abandoned, until it ends or this is cancelled."""
    thread = thread_of(error)
    if thread is not None:
        with suppress(asyncio.CancelledError):
            await asyncio.wait((thread,))


def _step(generator: Generator[Any, Any, Any], error: BaseException | None) -> bool:
    """Continue the generator after its `yield`. Returns whether it yields again."""
    if error is None:
        return next(generator, _END) is not _END
    try:
        generator.throw(error)
    except StopIteration:
        return False
    return True
