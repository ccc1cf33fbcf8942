"""The task of a request is an asyncio task to everyone who looks. Each test also runs with
`strict_tasks=True`, where it is a genuine one: that is the oracle."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio.lowlevel
import pytest
from ember._build import PURE
from ember.limits import RouteLimits
from ember.protocol import MemoryConnection
from ember.request import Request

from tests.support.answers import Answer, read_answers
from tests.support.app import App
from tests.support.server import DEADLINE, new_event_loop

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Handler = Callable[[Request], Awaitable[object]]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    loop = new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, DEADLINE))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


class Exchange:
    """One connection with one request in it."""

    def __init__(
        self, handler: Handler, strict: bool, limits: RouteLimits | None = None, send: bytes = GET
    ) -> None:
        self.app = App({"/": handler}, route_limits={"/": limits} if limits else None)
        self.connection = MemoryConnection(self.app, strict_tasks=strict)
        self.connection.feed(send)

    async def answer(self) -> Answer:
        sent = b""
        while not sent:
            assert not self.connection.aborted, self.app.errors
            sent = self.connection.take()
            await asyncio.sleep(0)
        return read_answers(sent)[0]


def answer_of(handler: Handler, strict: bool) -> Answer:
    """The answer of `handler`; what it raised fails the test."""

    async def main() -> Answer:
        exchange = Exchange(handler, strict)
        answer = await exchange.answer()
        assert exchange.app.errors == []
        return answer

    answer = run(main())
    assert isinstance(answer, Answer)
    return answer


@pytest.fixture(params=[False, True], ids=["light", "genuine"])
def strict(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# -- identity ---------------------------------------------------------------------------------


def test_the_current_task_is_one_task_before_and_after_a_wait(strict: bool) -> None:
    async def handler(request: Request) -> str:
        first = current()
        assert isinstance(first, asyncio.Task)
        assert isinstance(first, asyncio.Future)
        await asyncio.sleep(0)
        assert current() is first
        await asyncio.sleep(0.001)
        assert current() is first
        return "same"

    assert answer_of(handler, strict).body == b"same"


def test_whoever_feeds_the_connection_is_current_again_afterwards(strict: bool) -> None:
    seen = []

    async def handler(request: Request) -> str:
        seen.append(current())
        return "done"

    async def main() -> None:
        feeder = current()
        exchange = Exchange(handler, strict)
        assert current() is feeder
        await exchange.answer()
        assert len(seen) == 1
        assert seen[0] is not feeder

    run(main())


def test_no_task_is_current_in_a_callback_of_the_loop(strict: bool) -> None:
    async def handler(request: Request) -> str:
        loop = asyncio.get_running_loop()
        seen = loop.create_future()
        loop.call_soon(lambda: seen.set_result(asyncio.current_task()))
        assert await seen is None
        return "none"

    assert answer_of(handler, strict).body == b"none"


def test_another_task_is_current_in_itself_while_a_handler_waits(strict: bool) -> None:
    async def handler(request: Request) -> str:
        async def other() -> asyncio.Task[Any]:
            return current()

        child = asyncio.create_task(other())
        assert await child is child
        assert current() is not child
        return "apart"

    assert answer_of(handler, strict).body == b"apart"


def test_a_waiting_task_is_among_all_tasks_and_a_finished_one_is_not(strict: bool) -> None:
    seen = []

    async def handler(request: Request) -> str:
        seen.append(current())
        await asyncio.sleep(0)
        assert current() in asyncio.all_tasks()
        return "listed"

    async def main() -> None:
        exchange = Exchange(handler, strict)
        await exchange.answer()
        await asyncio.sleep(0)
        assert seen[0].done()
        assert seen[0] not in asyncio.all_tasks()

    run(main())


def test_it_can_be_named_described_and_referred_to_weakly(strict: bool) -> None:
    async def handler(request: Request) -> str:
        task = current()
        assert task.get_name()
        task.set_name("board")
        assert task.get_name() == "board"
        assert "board" in repr(task)
        assert asyncio.iscoroutine(task.get_coro())
        assert weakref.ref(task)() is task
        assert task.get_loop() is asyncio.get_running_loop()
        assert not task.done()
        assert not task.cancelled()
        with pytest.raises(asyncio.InvalidStateError):
            task.result()
        with pytest.raises(asyncio.InvalidStateError):
            task.exception()
        with pytest.raises(RuntimeError):
            task.set_result("x")
        with pytest.raises(RuntimeError):
            task.set_exception(ValueError())
        return "named"

    assert answer_of(handler, strict).body == b"named"


def test_its_stack_tells_where_it_waits() -> None:
    async def main() -> None:
        tasks = []
        release = asyncio.Event()

        async def handler(request: Request) -> str:
            tasks.append(current())
            await release.wait()
            return "released"

        exchange = Exchange(handler, strict=False)
        await asyncio.sleep(0)
        out = io.StringIO()
        tasks[0].print_stack(file=out)
        assert tasks[0].get_stack()
        assert "Stack for" in out.getvalue()
        release.set()
        await exchange.answer()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Task.get_context came with 3.12")
def test_its_context_is_that_of_the_request(strict: bool) -> None:
    async def handler(request: Request) -> str:
        variable.set("mine")
        await asyncio.sleep(0)
        context = getattr(current(), "get_context")()  # noqa: B009 - typed from 3.12 on
        assert context[variable] == "mine"
        return "context"

    assert answer_of(handler, strict).body == b"context"


# -- waiting ----------------------------------------------------------------------------------


def test_a_result_and_an_error_come_out_of_a_future(strict: bool) -> None:
    async def handler(request: Request) -> str:
        loop = asyncio.get_running_loop()
        good, bad = loop.create_future(), loop.create_future()
        loop.call_soon(good.set_result, "good")
        loop.call_soon(bad.set_exception, ValueError("bad"))
        with pytest.raises(ValueError, match="bad"):
            await bad
        return str(await good)

    assert answer_of(handler, strict).body == b"good"


def test_gather_wait_and_shield_work(strict: bool) -> None:
    async def handler(request: Request) -> str:
        async def later(value: int) -> int:
            await asyncio.sleep(0)
            return value

        assert list(await asyncio.gather(later(1), later(2))) == [1, 2]
        done, pending = await asyncio.wait([asyncio.create_task(later(n)) for n in range(3)])
        assert (len(done), len(pending)) == (3, 0)
        assert await asyncio.shield(later(3)) == 3
        assert [await f for f in asyncio.as_completed([later(4)])] == [4]
        return "gathered"

    assert answer_of(handler, strict).body == b"gathered"


def test_another_task_can_wait_for_it(strict: bool) -> None:
    async def main() -> None:
        release = asyncio.get_running_loop().create_future()
        tasks = []

        async def handler(request: Request) -> str:
            tasks.append(current())
            await release
            return "released"

        exchange = Exchange(handler, strict)
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(asyncio.wait({tasks[0]}))
        called: list[object] = []
        forgotten: list[object] = []
        tasks[0].add_done_callback(called.append)
        tasks[0].add_done_callback(forgotten.append)
        assert tasks[0].remove_done_callback(forgotten.append) == 1
        await asyncio.sleep(0)
        release.set_result(None)
        await exchange.answer()
        await waiting
        assert await tasks[0] is None
        assert called == tasks
        assert forgotten == []

    run(main())


def test_a_bad_yield_is_an_error_in_the_handler(strict: bool) -> None:
    class Bad:
        def __await__(self) -> Any:
            yield "neither a future nor None"

    async def handler(request: Request) -> str:
        with pytest.raises(RuntimeError, match="bad yield"):
            await Bad()
        return "caught"

    assert answer_of(handler, strict).body == b"caught"


def test_a_future_of_another_loop_is_an_error_in_the_handler(strict: bool) -> None:
    other = asyncio.new_event_loop()

    async def handler(request: Request) -> str:
        with pytest.raises(RuntimeError, match="different loop"):
            await other.create_future()
        return "caught"

    try:
        assert answer_of(handler, strict).body == b"caught"
    finally:
        other.close()


def test_a_task_cannot_wait_for_itself(strict: bool) -> None:
    async def handler(request: Request) -> str:
        with pytest.raises(RuntimeError, match="await on itself"):
            await current()
        return "caught"

    assert answer_of(handler, strict).body == b"caught"


# -- timeouts and groups ----------------------------------------------------------------------


def test_a_timeout_that_is_not_reached_changes_nothing(strict: bool) -> None:
    async def handler(request: Request) -> str:
        async with asyncio.timeout(DEADLINE):  # noqa: ASYNC100 - that is the point
            pass
        async with asyncio.timeout(DEADLINE):
            await asyncio.sleep(0)
        assert current().cancelling() == 0
        return "in time"

    assert answer_of(handler, strict).body == b"in time"


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_a_timeout_that_is_reached_raises_and_leaves_no_trace(strict: bool, seconds: float) -> None:
    async def handler(request: Request) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().create_future()
        assert current().cancelling() == 0
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), seconds)
        return "late"

    assert answer_of(handler, strict).body == b"late"


def test_a_task_group_gives_results_and_collects_errors(strict: bool) -> None:
    async def handler(request: Request) -> str:
        async def give(value: str) -> str:
            await asyncio.sleep(0)
            return value

        async def fail() -> None:
            raise KeyError("child")

        async with asyncio.TaskGroup() as group:
            a, b = group.create_task(give("a")), group.create_task(give("b"))
        with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.get_running_loop().create_future()
        assert isinstance(caught.value.exceptions[0], KeyError)
        assert current().cancelling() == 0
        return a.result() + b.result()

    assert answer_of(handler, strict).body == b"ab"


def test_anyio_runs_in_a_handler(strict: bool) -> None:
    async def handler(request: Request) -> str:
        seen = []

        async def child(value: int) -> None:
            await anyio.lowlevel.checkpoint()
            seen.append(value)

        async with anyio.create_task_group() as group:
            group.start_soon(child, 1)
            group.start_soon(child, 2)
        assert sorted(seen) == [1, 2]
        with anyio.move_on_after(0.001) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.001):
                await anyio.sleep_forever()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(lambda: "thread") == "thread"
        assert current().cancelling() == 0
        return "anyio"

    assert answer_of(handler, strict).body == b"anyio"


# -- cancellation -----------------------------------------------------------------------------


def test_a_cancellation_asked_for_by_itself_comes_at_the_next_wait(strict: bool) -> None:
    async def handler(request: Request) -> str:
        task = current()
        assert task.cancel("enough")
        assert task.cancelling() == 1
        with pytest.raises(asyncio.CancelledError) as caught:
            await asyncio.sleep(0)
        assert caught.value.args == ("enough",)
        assert task.uncancel() == 0
        await asyncio.sleep(0)
        return "went on"

    assert answer_of(handler, strict).body == b"went on"


def test_a_cancellation_reaches_what_the_handler_waits_for(strict: bool) -> None:
    async def main() -> None:
        inner = asyncio.get_running_loop().create_future()
        tasks = []

        async def handler(request: Request) -> str:
            tasks.append(current())
            try:
                await inner
            except asyncio.CancelledError:
                tasks[0].uncancel()
                return "cancelled"
            return "not"

        exchange = Exchange(handler, strict)
        await asyncio.sleep(0)
        tasks[0].cancel()
        answer = await exchange.answer()
        assert answer.body == b"cancelled"
        assert inner.cancelled()
        assert not tasks[0].cancel()

    run(main())


@pytest.mark.parametrize("leave", ["eof", "lost"])
def test_a_client_that_leaves_cancels_the_handler_exactly_once(strict: bool, leave: str) -> None:
    async def main() -> None:
        times = 0
        ended = asyncio.Event()

        async def handler(request: Request) -> str:
            nonlocal times
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                times += 1
                await asyncio.sleep(0)  # cleaning up may wait
                await asyncio.sleep(0)
                ended.set()
                raise
            return "never"

        # In HTTP/1.0 the end of the client's stream counts as its leaving.
        exchange = Exchange(handler, strict, send=GET.replace(b"/1.1", b"/1.0"))
        await asyncio.sleep(0)
        getattr(exchange.connection, leave)()
        await ended.wait()
        exchange.connection.lost()
        await asyncio.sleep(0)
        assert times == 1
        assert exchange.connection.take() == b""
        assert exchange.app.errors == []

    run(main())


def test_a_client_that_leaves_cancels_nothing_when_the_route_says_so(strict: bool) -> None:
    async def main() -> None:
        release = asyncio.Event()
        finished = asyncio.Event()

        async def handler(request: Request) -> str:
            await release.wait()
            assert await request.is_disconnected()
            finished.set()
            return "finished"

        exchange = Exchange(handler, strict, RouteLimits(cancel_on_disconnect=False))
        await asyncio.sleep(0)
        exchange.connection.lost()
        release.set()
        await finished.wait()
        assert exchange.app.errors == []

    run(main())


def test_a_handler_over_its_time_is_cancelled_and_answered_with_503(strict: bool) -> None:
    async def main() -> None:
        cancelled = []

        async def handler(request: Request) -> str:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.append(current())
                raise
            return "never"

        exchange = Exchange(handler, strict, RouteLimits(timeout=0.02))
        answer = await exchange.answer()
        assert answer.status == 503
        assert len(cancelled) == 1

    run(main())


# -- context ----------------------------------------------------------------------------------


def test_context_variables_pass_into_the_handler_and_stay_there(strict: bool) -> None:
    seen = []

    async def handler(request: Request) -> str:
        seen.append(variable.get())
        variable.set("handler")
        await asyncio.sleep(0)
        seen.append(variable.get())
        return await asyncio.create_task(read())

    async def read() -> str:
        return variable.get()

    async def main() -> None:
        variable.set("server")
        exchange = Exchange(handler, strict)
        assert (await exchange.answer()).body == b"handler"
        exchange.connection.feed(GET)
        assert (await exchange.answer()).body == b"handler"
        assert seen == ["server", "handler"] * 2
        assert variable.get() == "server"

    run(main())


def test_a_variable_set_by_dispatch_is_seen_by_the_handler(strict: bool) -> None:
    async def handler() -> str:
        await asyncio.sleep(0)
        return variable.get()

    def dispatch(request: Request) -> Awaitable[object]:
        variable.set("dispatch")
        return handler()

    assert answer_of(dispatch, strict).body == b"dispatch"
    assert variable.get() == "unset"


# -- nothing stays behind ---------------------------------------------------------------------


def test_a_finished_task_is_freed_at_once(strict: bool) -> None:
    async def main() -> None:
        references: list[weakref.ref[Any]] = []

        async def handler(request: Request) -> str:
            references.append(weakref.ref(current()))
            references.append(weakref.ref(request))
            await asyncio.sleep(0)
            return "freed"

        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                exchange = Exchange(handler, strict)
                await exchange.answer()
                exchange.connection.lost()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            alive = [reference() for reference in references]
        finally:
            gc.enable()
        # A genuine task is a circle with its exchange; the collector finds it.
        if strict or PURE:
            del alive, exchange
            gc.collect()
            alive = [reference() for reference in references]
        assert alive == [None] * 6

    run(main())
