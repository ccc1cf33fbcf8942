"""What is to be left again when a request is over: generators and per-request components."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from ember.background import BackgroundTasks, Pending
from ember.request import Request
from ember.response import Response

logger = logging.getLogger("ember.binding")

RunInThread = Callable[..., Awaitable[Any]]
Leave = Callable[[BaseException | None], Awaitable[None]]


class Exits:
    """The dependencies that were entered for one request, left in reverse."""

    __slots__ = ("_background", "_entries", "_pending")

    def __init__(self, pending: Pending | None = None) -> None:
        self._entries: list[tuple[Leave, bool, str]] = []
        self._background: BackgroundTasks | None = None
        self._pending = pending

    async def enter_async(self, generator: AsyncGenerator[Any, Any], hold: bool, name: str) -> Any:
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

        self._entries.append((leave, hold, name))
        return value

    async def enter(
        self,
        generator: Generator[Any, Any, Any],
        hold: bool,
        name: str,
        run: RunInThread | None = None,
    ) -> Any:
        """What a generator yields first; with `run`, in a thread."""
        value = await run(next, generator, _END) if run else next(generator, _END)
        if value is _END:
            raise RuntimeError(f'dependency "{name}" ended without a yield')

        async def leave(error: BaseException | None) -> None:
            more = await run(_step, generator, error) if run else _step(generator, error)
            if more:
                generator.close()
                raise RuntimeError(f'dependency "{name}" yields more than once')

        self._entries.append((leave, hold, name))
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

    async def fail(self, error: BaseException) -> BaseException:
        """Leave everything because of `error`; the error to raise, which one of them may
        replace."""
        while self._entries:
            leave, _, name = self._entries.pop()
            try:
                await leave(error)
            except BaseException as raised:  # noqa: BLE001 - it is what will be raised
                if raised is not error:
                    logger.debug('dependency "%s" replaced %r by %r', name, error, raised)
                    error = raised
        return error

    async def finish(
        self, request: Request, result: Any, background: BackgroundTasks | None
    ) -> Any:
        """The handler is done: leave what need not wait, the rest follows the answer."""
        if self._entries and is_stream(result):
            held = [entry for entry in self._entries if entry[1]]
            self._entries = [entry for entry in self._entries if not entry[1]]
            await self._leave()
            self._entries = held
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
        finally:
            try:
                await self._leave()
            finally:
                if self._pending is not None:
                    self._pending.end()

    async def _leave(self) -> None:
        stopped: BaseException | None = None
        while self._entries:
            leave, _, name = self._entries.pop()
            try:
                await leave(None)
            except Exception:
                # The answer is out, or as good as: this is for the log.
                logger.exception('dependency "%s" failed while it was left', name)
            except BaseException as error:  # noqa: BLE001 - cancelled: the others are left first
                stopped = error
        if stopped is not None:
            raise stopped


_END: Any = object()


def _step(generator: Generator[Any, Any, Any], error: BaseException | None) -> bool:
    """Go on after the yield; whether there is another one."""
    if error is None:
        return next(generator, _END) is not _END
    try:
        generator.throw(error)
    except StopIteration:
        return False
    return True


def is_stream(result: Any) -> bool:
    """Whether what a handler returned is sent piece by piece."""
    if isinstance(result, Response):
        return result.stream is not None
    if type(result) is tuple and result:
        return is_stream(result[0])
    return hasattr(type(result), "__anext__")
