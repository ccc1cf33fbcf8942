"""What is to be left again when a request is over: generators and per-request components."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from ember.binding.contexts import RunInThread, in_same_context
from ember.binding.followed import followed
from ember.concurrency.background import BackgroundTasks, Pending
from ember.concurrency.given_up import hold
from ember.concurrency.threads import thread_of
from ember.request import Request
from ember.response import Response

logger = logging.getLogger("ember.binding")

Respond = Callable[[Any], Response]
Leave = Callable[[BaseException | None], Awaitable[None]]
#: (what leaves it, whether its scope is "function", how messages name it)
_Entry = tuple[Leave, bool, str]


class Exits:
    """The dependencies that were entered for one request, left in reverse.

    Those of scope "function" when the handler has ended, before its answer is sent; the others
    after the answer.
    """

    __slots__ = ("_background", "_entries", "_pending", "error")

    def __init__(self, pending: Pending | None = None) -> None:
        self._entries: list[_Entry] = []
        self._background: BackgroundTasks | None = None
        self._pending = pending
        #: What broke the answer while it was sent; the dependencies get it at their yield.
        self.error: BaseException | None = None

    async def enter_async(self, generator: AsyncGenerator[Any, Any], early: bool, name: str) -> Any:
        """What an async generator yields first."""
        try:
            value = await generator.__anext__()
        except StopAsyncIteration:
            raise RuntimeError(f'dependency "{name}" ended without a yield') from None

        async def leave(error: BaseException | None) -> None:
            try:
                if error is None:
                    await generator.__anext__()
                else:
                    await generator.athrow(error)
            except StopAsyncIteration:
                return
            await generator.aclose()
            raise RuntimeError(f'dependency "{name}" yields more than once')

        self._entries.append((leave, early, name))
        return value

    async def enter(
        self,
        generator: Generator[Any, Any, Any],
        early: bool,
        name: str,
        run: RunInThread | None = None,
    ) -> Any:
        """What a generator yields first; with `run`, in a thread."""
        # All parts of a generator run in one context, or it could not reset what it has set.
        context = copy_context()

        async def leave(error: BaseException | None) -> None:
            if run is None:
                more = _step(generator, error)
            else:
                more = await in_same_context(context, run, _step, generator, error)
            if more:
                generator.close()
                raise RuntimeError(f'dependency "{name}" yields more than once')

        # Before it has begun: given up meanwhile, its thread may still come to the yield.
        entry: _Entry = (leave, early, name)
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

    async def own(self, value: Any, name: str) -> Any:
        """A per-request component: awaited and entered when it can be, closed when it can be."""
        if hasattr(type(value), "__await__"):
            value = await value
        kind = type(value)
        if hasattr(kind, "__aenter__"):
            entered = await value.__aenter__()

            async def leave(error: BaseException | None) -> None:
                await value.__aexit__(type(error) if error else None, error, None)

        elif hasattr(kind, "__enter__"):
            entered = value.__enter__()

            async def leave(error: BaseException | None) -> None:
                value.__exit__(type(error) if error else None, error, None)

        else:
            close = getattr(value, "aclose", None) or getattr(value, "close", None)
            if close is None:
                return value
            entered = value

            async def leave(error: BaseException | None) -> None:
                result = close()
                if hasattr(type(result), "__await__"):
                    await result

        self._entries.append((leave, False, name))
        return entered

    async def fail(self, request: Request, error: BaseException) -> BaseException:
        """Leave everything because of `error`; the error to raise, which one of them may
        replace.

        Where a thread still runs for the request, the answer does not wait for it: then everything
        is left after the answer and after the thread.
        """
        while self._entries:
            if thread_of(error) is not None:
                hold(request, error)
                self.error = error
                self.finish(request, None, None)
                break
            leave, _, name = self._entries.pop()
            try:
                await leave(error)
            except BaseException as raised:  # noqa: BLE001 - it is what will be raised
                if raised is not error:
                    logger.debug('dependency "%s" replaced %r by %r', name, error, raised)
                    error = raised
        return error

    async def returned(self, result: Any, respond: Respond | None, streams: bool) -> Any:
        """The handler has ended: make its response while everything is open, and leave what is of
        scope "function". Raises what fails of it, which is then the answer.

        `streams`: the handler is an async generator, whose end is that of its stream.
        """
        if respond is not None:
            result = respond(result)
        stream = result.stream if isinstance(result, Response) else None
        if not streams or stream is None:
            await self.leave_early()
        if stream is not None and not hasattr(stream, "file_parts"):
            result = result.copy()
            result.stream = followed(self, stream)
        return result

    async def leave_early(self) -> None:
        """Leave what is of scope "function". The first that fails ends it, and the others of all
        scopes are left because of that."""
        entries = self._entries
        early = [entry for entry in entries if entry[1]]
        while early:
            entry = early.pop()
            entries.remove(entry)
            await entry[0](None)

    def finish(self, request: Request, result: Any, background: BackgroundTasks | None) -> Any:
        """The rest follows the answer."""
        if self._entries or background:
            self._background = background
            if self._pending is not None:
                self._pending.begin()
            request.after_response(self._follow)
        return result

    async def _follow(self) -> None:
        """What comes after the answer: the background tasks, which may still use what is left
        then."""
        try:
            if self._background is not None:
                await self._background()
        except asyncio.CancelledError as error:
            await _ended(error)
            raise
        finally:
            try:
                await self._leave(self.error)
            finally:
                if self._pending is not None:
                    self._pending.end()

    async def _leave(self, broken: BaseException | None) -> None:
        stopped: BaseException | None = None
        while self._entries:
            leave, _, name = self._entries.pop()
            try:
                await leave(broken)
            except Exception as error:
                # The answer is out, or as good as: this is for the log. What broke a stream is
                # there already.
                if error is not broken:
                    logger.exception('dependency "%s" failed while it was left', name)
            except BaseException as error:  # noqa: BLE001 - cancelled: the others are left first
                if error is not broken:
                    stopped = error
                    await _ended(error)
        if stopped is not None:
            raise stopped


_END: Any = object()


async def _ended(error: BaseException) -> None:
    """Wait for the thread that `error` has given up; not when this is cancelled as well."""
    thread = thread_of(error)
    if thread is not None:
        with suppress(asyncio.CancelledError):
            await asyncio.wait((thread,))


def _step(generator: Generator[Any, Any, Any], error: BaseException | None) -> bool:
    """Go on after the yield; whether there is another one."""
    if error is None:
        return next(generator, _END) is not _END
    try:
        generator.throw(error)
    except StopIteration:
        return False
    return True
