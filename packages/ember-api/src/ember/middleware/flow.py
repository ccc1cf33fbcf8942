"""`Flow`: one awaitable that awaits several others in turn, as its `Plan` says.

What `async def` would do with a frame of its own around each of them, without that frame. This is
the file that runs without a compiler; with one `flow.pyx`, of the same contract, does.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Self


class Plan:
    """What a Flow does next; one plan serves any number of flows."""

    def advance(self, flow: Flow, value: Any, error: BaseException | None) -> bool:
        """What `flow` waited for has ended with `value` or `error`; both are None at the start.

        True: `flow.inner` is the iterator to wait for next. False: `flow.response` is the result.
        """
        raise NotImplementedError


class Flow(Coroutine[Any, Any, Any]):
    """A coroutine without a frame. Made by a plan, which sets `plan` and what it wants to find.

    `request`, `values`, `response`, `at` and `phase` are the plan's; `inner` is the iterator that
    is awaited now. Only an Exception is the plan's to see: a cancellation, and whatever else is no
    Exception, ends the flow at once.
    """

    plan: Plan
    request: Any = None
    values: list[Any] | None = None
    response: Any = None
    inner: Any = None
    at: int = 0
    phase: int = 0
    #: It has ended, or is being driven right now.
    _over: bool = False

    def __await__(self) -> Self:
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Go on; what is yielded, or StopIteration with the result."""
        self._enter()
        more = self.inner is not None or self.plan.advance(self, None, None)
        while more:
            inner = self.inner
            try:
                yielded = inner.send(value) if hasattr(inner, "send") else next(inner)
            except StopIteration as stop:
                self.inner = None
                more = self.plan.advance(self, stop.value, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the plan answers it
                self.inner = None
                more = self.plan.advance(self, None, error)
            else:
                self._over = False
                return yielded
            value = None
        raise StopIteration(self.response)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Let what is awaited end with an exception, as a coroutine does."""
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
        """End it where it stands; what is awaited is closed, and nothing else runs."""
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

    # What asyncio shows of a coroutine.

    @property
    def cr_await(self) -> Any:
        """What is awaited now."""
        return self.inner

    @property
    def cr_frame(self) -> Any:
        """The frame of what is awaited now, where it has one."""
        return getattr(self.inner, "cr_frame", None)

    @property
    def cr_running(self) -> bool:
        """Whether it is being driven, or has ended."""
        return self._over


def normal(kind: Any, value: Any, traceback: Any) -> BaseException:
    """The arguments of `throw`, in the old form too, as one exception."""
    error: BaseException
    if isinstance(value, BaseException):
        error = value
    elif isinstance(kind, type):
        error = kind() if value is None else kind(value)
    else:
        error = kind
    return error if traceback is None else error.with_traceback(traceback)
