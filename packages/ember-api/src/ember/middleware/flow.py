"""`Flow`: an awaitable that awaits several others one after the other; its `Plan` chooses them.

It does what nested `async def` functions do, without a frame for each of them. The pure build uses
this file; the compiled build uses `flow.pyx`, which behaves the same.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Self


class Plan:
    """Chooses the next step of a Flow. One plan serves any number of flows."""

    def advance(self, flow: Flow, value: Any, error: BaseException | None) -> bool:
        """Called when the awaitable of `flow` has ended with `value` or `error`, and at the start.

        Both are None at the start. Returns True if `flow.inner` is the next iterator to wait for,
        False if `flow.response` is the result.
        """
        raise NotImplementedError


class Flow(Coroutine[Any, Any, Any]):
    """A coroutine without a frame. A plan makes it and sets `plan`.

    The plan uses `request`, `values`, `response`, `at` and `phase`. `inner` is the iterator that is
    awaited now. The plan sees an Exception; a cancellation, or another BaseException, ends the flow
    at once.
    """

    plan: Plan
    request: Any = None
    values: list[Any] | None = None
    response: Any = None
    inner: Any = None
    at: int = 0
    phase: int = 0
    #: The flow has ended, or is running now.
    _over: bool = False

    def __await__(self) -> Self:
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Continue. Returns what is yielded; raises StopIteration with the result."""
        self._enter()
        more = self.inner is not None or self.plan.advance(self, None, None)
        while more:
            inner = self.inner
            try:
                yielded = inner.send(value) if hasattr(inner, "send") else next(inner)
            except StopIteration as stop:
                self.inner = None
                more = self.plan.advance(self, stop.value, None)
            except Exception as error:  # noqa: BLE001 - the plan handles every error
                self.inner = None
                more = self.plan.advance(self, None, error)
            else:
                self._over = False
                return yielded
            value = None
        raise StopIteration(self.response)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Raise an exception in the awaitable, as a coroutine does."""
        error = normal(kind, value, traceback)
        self._enter()
        if self.inner is None:
            raise error
        inner = self.inner
        try:
            if not hasattr(inner, "throw"):
                raise error
            yielded = inner.throw(error)
        except StopIteration as stop:
            self.inner = None
            more = self.plan.advance(self, stop.value, None)
        except Exception as failure:  # noqa: BLE001 - as in send
            self.inner = None
            more = self.plan.advance(self, None, failure)
        else:
            self._over = False
            return yielded
        if not more:
            raise StopIteration(self.response)
        self._over = False
        return self.send(None)

    def close(self) -> None:
        """End the flow: close the awaitable and run nothing else."""
        if self._over:
            return
        self._over = True
        close = getattr(self.inner, "close", None)
        self.inner = None
        if close is not None:
            close()

    def _enter(self) -> None:
        if self._over:
            raise RuntimeError("cannot reuse an awaitable that has ended or is running")
        self._over = True

    # The attributes of a coroutine that asyncio shows.

    @property
    def cr_await(self) -> Any:
        """The iterator that is awaited now."""
        return self.inner

    @property
    def cr_frame(self) -> Any:
        """The frame of the iterator that is awaited now; None if it has none."""
        return getattr(self.inner, "cr_frame", None)

    @property
    def cr_running(self) -> bool:
        """Whether the flow is running, or has ended."""
        return self._over


def normal(kind: Any, value: Any, traceback: Any) -> BaseException:
    """The exception that the arguments of `throw` mean, also in the old form with three
    arguments."""
    error: BaseException
    if isinstance(value, BaseException):
        error = value
    elif isinstance(kind, type):
        error = kind() if value is None else kind(value)
    else:
        error = kind
    return error if traceback is None else error.with_traceback(traceback)
