"""The states of a connection: which there are, and which follow one another."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from ember.protocol import MemoryConnection
from ember.protocol.server.codec import Output, Upgrade
from ember.protocol.server.states import TRANSITIONS, State
from ember.request import Request

from tests.conformance.corpus import Case, read_cases
from tests.conformance.runner import application
from tests.support.app import App
from tests.support.waiting import DEADLINE

pytestmark = pytest.mark.once_per_build

CASES = list(read_cases())
#: Every pair that was seen while the corpus ran.
seen: set[tuple[State, State]] = set()


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test in an event loop."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(test(**arguments))

    return run


class Watch:
    """Looks at a connection and checks each change against the table."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection
        self.way = [connection.state]

    def look(self) -> None:
        state = self.connection.state
        if state is not self.way[-1]:
            assert state in TRANSITIONS[self.way[-1]], (self.way[-1], state)
            seen.add((self.way[-1], state))
            self.way.append(state)

    def feed(self, data: bytes) -> None:
        for byte in data:
            if self.connection.closed:
                break
            self.connection.feed(bytes([byte]))
            self.look()

    async def reaches(self, state: State) -> None:
        """Until it is there: on a slow machine what was fed takes more than its share of a turn,
        and the rest has to wait."""
        async with asyncio.timeout(DEADLINE):
            while self.way[-1] is not state:
                await asyncio.sleep(0)
                self.look()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@in_loop
async def test_the_corpus_keeps_to_the_table(case: Case) -> None:
    connection = MemoryConnection(application())
    watch = Watch(connection)
    for byte in case.data:
        if connection.closed:
            break
        connection.feed(bytes([byte]))
        watch.look()
        for _ in range(3):
            await asyncio.sleep(0)
            watch.look()
    if not connection.closed:
        connection.eof()
        watch.look()
        for _ in range(6):
            await asyncio.sleep(0)
            watch.look()
    assert watch.way[0] is State.IDLE


@in_loop
async def test_the_way_of_a_request_with_a_body() -> None:
    async def read(request: Request) -> str:
        await request.body()
        await asyncio.sleep(0)
        return "read"

    connection = MemoryConnection(App({"/": read}))
    watch = Watch(connection)
    watch.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    await watch.reaches(State.RECEIVING_BODY)
    assert watch.way == [State.IDLE, State.RECEIVING_HEAD, State.RECEIVING_BODY]
    watch.feed(b"0\r\n\r\n")
    await watch.reaches(State.ANSWERING)
    assert watch.way[3:] == [State.ANSWERING]
    while not connection.take():
        await asyncio.sleep(0)
    watch.look()
    connection.lost()
    watch.look()
    assert watch.way[4:] == [State.IDLE, State.CLOSED]


@in_loop
async def test_the_rest_of_a_body_that_nobody_reads_is_drained() -> None:
    connection = MemoryConnection(App({"/": lambda request: "at once"}))
    watch = Watch(connection)
    watch.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx")
    await watch.reaches(State.DRAINING)
    assert watch.way == [State.IDLE, State.RECEIVING_HEAD, State.DRAINING]
    watch.feed(b"\r\n0\r\n\r\n")
    await watch.reaches(State.IDLE)
    assert watch.way[3:] == [State.IDLE]


class Silent:
    """A codec that says nothing."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def data_received(self, data: bytes) -> None:
        if data == b"!":
            self.output.close()

    def eof_received(self) -> None: ...
    def connection_lost(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def timed_out(self) -> None: ...
    def drain(self) -> None: ...


@in_loop
async def test_the_way_of_an_upgrade() -> None:
    connection = MemoryConnection(App({"/": lambda request: Upgrade("silence", Silent)}))
    watch = Watch(connection)
    watch.feed(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: silence\r\n\r\nabc")
    assert watch.way == [State.IDLE, State.RECEIVING_HEAD, State.UPGRADED]
    watch.feed(b"!")
    assert watch.way[-1] is State.CLOSED


def test_every_state_has_its_row_and_ends() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.IDLE}
    for _ in State:
        reached |= {after for state in reached for after in TRANSITIONS[state]}
    assert reached == set(State)
    assert all(
        state in TRANSITIONS[state] or State.CLOSED in TRANSITIONS[state]
        for state in State
        if state is not State.CLOSED
    )
