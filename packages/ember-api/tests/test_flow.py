"""The awaitable that follows a plan: what is sent into it, thrown, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from ember import Request, Response
from ember.middleware.flow import Flow, Plan

Next = Callable[[Request], Awaitable[Response]]
HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
variable: ContextVar[str] = ContextVar("variable", default="unset")


class Steps(Plan):
    """Awaits each of some iterators, then ends with what the last gave."""

    def __init__(self, *inner: Any) -> None:
        self.left = list(inner)
        self.seen: list[Any] = []

    def advance(self, flow: Flow, value: Any, error: BaseException | None) -> bool:
        self.seen.append(value if error is None else error)
        if not self.left:
            flow.response = value
            return False
        flow.inner = self.left.pop(0)
        return True


def flow_of(*inner: Any) -> Flow:
    flow = Flow.__new__(Flow)
    flow.plan = Steps(*inner)
    return flow


async def one(value: Any, *yielded: Any) -> Any:
    """A coroutine that yields what it is told and notes what is sent."""

    class Yields:
        def __await__(self) -> Iterator[Any]:
            got = []
            for piece in yielded:
                got.append((yield piece))  # noqa: PERF401 - a comprehension cannot yield
            return got

    return value, await Yields()


def ended(flow: Flow, *sent: Any) -> tuple[list[Any], Any]:
    """What a flow yields, and its result."""
    pieces = []
    for value in (None, *sent):
        try:
            pieces.append(flow.send(value))
        except StopIteration as stop:
            return pieces, stop.value
    raise AssertionError(f"not over after {pieces}")


def test_a_flow_passes_on_what_is_yielded_and_sent() -> None:
    assert ended(flow_of()) == ([], None)
    assert ended(flow_of(one(1))) == ([], (1, []))
    flow = flow_of(one(1, "a", "b"), one(2), one(3, "c"))
    assert ended(flow, "A", "B", "C") == (["a", "b", "c"], (3, ["C"]))
    assert flow.plan.seen == [None, (1, ["A", "B"]), (2, []), (3, ["C"])]  # type: ignore[attr-defined]


def test_a_flow_is_awaited_with_any_result_by_tasks_and_coroutines() -> None:
    async def main() -> None:
        for result in ("text", ("a", "tuple"), ValueError("an exception"), None, StopIteration(1)):

            async def gives(result: Any = result) -> Any:
                await asyncio.sleep(0)
                return result

            assert await flow_of(gives()) is result
            assert await asyncio.create_task(flow_of(gives())) is result
            assert await asyncio.wait_for(flow_of(gives()), 120) is result

    asyncio.run(main())


def test_a_flow_awaits_futures_and_plain_iterators() -> None:
    class Plain:
        """An iterator, and nothing more."""

        def __init__(self) -> None:
            self.left = 1

        def __iter__(self) -> Plain:
            return self

        def __next__(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise StopIteration("done")

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "set")
        assert await flow_of(future.__await__()) == "set"
        assert await flow_of(Plain()) == "done"

    asyncio.run(main())
    flow = flow_of(Plain())
    flow.send(None)
    with pytest.raises(StopIteration):
        flow.throw(ValueError("thrown where nothing can take it"))
    assert str(flow.plan.seen[-1]).startswith("thrown")  # type: ignore[attr-defined]


def test_what_is_thrown_into_a_flow_reaches_what_it_awaits() -> None:
    async def catches() -> str:
        try:
            await one(0, "waiting")
        except ValueError as error:
            return f"caught {error}"
        raise AssertionError

    for arguments in (
        (ValueError("x"),),
        (ValueError, "x"),
        (ValueError, ValueError("x")),
        (ValueError, ValueError("x"), None),
    ):
        flow = flow_of(catches(), one("next", "more"))
        assert flow.send(None) == "waiting"
        assert flow.throw(*arguments) == "more"
        assert flow.plan.seen == [None, "caught x"]  # type: ignore[attr-defined]
        assert ended(flow) == ([], ("next", [None]))


def test_an_exception_that_leaves_what_is_awaited_is_the_plans_to_see() -> None:
    error = ValueError("x")
    flow = flow_of(one(0, "waiting"), one("next"))
    flow.send(None)
    with pytest.raises(StopIteration) as stopped:
        flow.throw(error)
    assert stopped.value.value == ("next", [])
    assert flow.plan.seen[1] is error  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_ends_a_flow_at_once(error: BaseException) -> None:
    flow = flow_of(one(0, "waiting"), one(1))
    flow.send(None)
    with pytest.raises(type(error)) as raised:
        flow.throw(error)
    assert raised.value is error
    assert len(flow.plan.seen) == 1  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="cannot reuse"):
        flow.send(None)
    flow.plan.left.pop().close()  # type: ignore[attr-defined]


def test_closing_a_flow_closes_what_it_awaits_and_runs_nothing_more() -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await one(0, "waiting")
        finally:
            seen.append("closed")

    flow = flow_of(inner())
    flow.send(None)
    flow.close()
    flow.close()
    assert seen == ["closed"]
    assert len(flow.plan.seen) == 1  # type: ignore[attr-defined]
    begun = flow_of()
    begun.close()
    assert begun.plan.seen == []  # type: ignore[attr-defined]
    for used in (flow, begun):
        with pytest.raises(RuntimeError, match="cannot reuse"):
            used.send(None)
        with pytest.raises(RuntimeError, match="cannot reuse"):
            used.throw(ValueError())


def test_a_flow_that_has_not_begun_ends_with_what_is_thrown() -> None:
    flow = flow_of()
    with pytest.raises(ValueError, match="x"):
        flow.throw(ValueError("x"))
    assert flow.plan.seen == []  # type: ignore[attr-defined]


def test_a_flow_cannot_be_driven_while_it_runs() -> None:
    flow = flow_of()

    async def drives_its_own() -> None:
        flow.send(None)

    flow.plan.left.append(drives_its_own())  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        flow.send(None)
    assert "is running" in str(flow.plan.seen[1])  # type: ignore[attr-defined]


def test_the_frame_of_what_is_awaited_can_be_seen_through_a_flow() -> None:
    coroutine = one(0, "waiting")
    flow = flow_of(coroutine)
    assert flow.cr_frame is None
    flow.send(None)
    assert flow.cr_await is coroutine
    assert flow.cr_frame is coroutine.cr_frame
    assert not flow.cr_running
    flow.close()
