"""The test client reads endless event streams, and a test holds the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ember import Ember, Request, RouteLimits, ServerSentEvent, SSEResponse
from ember.testing import Clock, ReceivedEvent, run_with_clock
from ember.testing.events import EventParser


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_parsed_as_the_standard_says(size: int) -> None:
    wire = (
        "\ufeff: hello\r\nretry: 10\r\n\r\n"
        "event: tick\rid: 7\rdata: a\rdata:b\r\r"
        "data\n\nid\ndata:  two spaces\nunknown: x\n\nevent: empty\n\nid: a\x00b\ndata: é\n\n"
        "data: not ended"
    ).encode()
    parser = EventParser()
    events = []
    for at in range(0, len(wire), size):
        events += parser.feed(wire[at : at + size])
    assert events == [
        ReceivedEvent("tick", "a\nb", "7"),
        ReceivedEvent("message", "", "7"),
        ReceivedEvent("message", " two spaces", ""),
        ReceivedEvent("message", "é", ""),
    ]
    assert (parser.retry, parser.comments) == (10, ["hello"])


def endless(state: dict[str, Any]) -> Ember:
    app = Ember()

    @app.get("/events")
    async def events(request: Request) -> SSEResponse:
        async def ticks() -> AsyncIterator[ServerSentEvent]:
            number = int(request.headers.get("last-event-id") or 0)
            try:
                while True:
                    number += 1
                    yield ServerSentEvent({"n": number}, event="tick", id=number)
            finally:
                state["closed"] = True

        return SSEResponse(ticks(), retry=5)

    @app.get("/slow")
    async def slow() -> SSEResponse:
        async def ticks() -> AsyncIterator[str]:
            await asyncio.sleep(100)
            yield "late"

        return SSEResponse(ticks(), ping_interval=15)

    @app.get("/none")
    async def none() -> str:
        return "no stream"

    @app.get("/limited", limits=RouteLimits(timeout=3))
    async def limited() -> None:
        await asyncio.sleep(1000)

    return app


def test_an_endless_stream_is_read_as_far_as_one_likes() -> None:
    state: dict[str, Any] = {}

    async def main() -> None:
        async with endless(state).test_client() as c:
            seen = []
            stream = c.sse("/events", headers={"Last-Event-ID": "4"})
            async for event in stream:
                seen.append((event.event, event.id, event.json()["n"]))
                if len(seen) == 3:
                    break
            assert seen == [("tick", "5", 5), ("tick", "6", 6), ("tick", "7", 7)]
            assert stream.retry == 5
            assert "closed" not in state
            await stream.disconnect()
            assert state["closed"]

    asyncio.run(main())


def test_a_stream_that_is_left_open_ends_with_the_client() -> None:
    state: dict[str, Any] = {}

    async def main() -> None:
        async with endless(state).test_client() as c:
            assert (await anext(c.sse("/events"))).data == '{"n":1}'
        assert state["closed"]

    asyncio.run(main())


def test_what_is_no_stream_is_shown() -> None:
    async def main() -> None:
        async with endless({}).test_client() as c:
            with pytest.raises(AssertionError, match=r"got 200 text/plain.*: no stream"):
                await anext(c.sse("/none"))

    asyncio.run(main())


def test_heartbeats_come_with_the_clock() -> None:
    async def scenario(clock: Clock) -> None:
        async with endless({}).test_client(timeout=None) as c, c.sse("/slow") as stream:
            first = asyncio.create_task(anext(stream))
            await clock.advance(44)
            assert stream.comments.count("ping") == 2
            await clock.advance(1)
            assert stream.comments.count("ping") == 3
            await clock.advance(55)
            assert (await first).data == "late"

    run_with_clock(scenario)


def test_a_time_limit_of_a_route_passes_without_waiting() -> None:
    async def scenario(clock: Clock) -> None:
        async with endless({}).test_client() as c:
            answer = asyncio.create_task(c.get("/limited"))
            await clock.advance(2)
            assert not answer.done()
            await clock.advance(2)
            assert (await answer).status_code == 503

    run_with_clock(scenario)


def test_time_goes_forward_only_when_told() -> None:
    order: list[tuple[str, float]] = []

    async def scenario(clock: Clock) -> None:
        async def sleep(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append((name, clock.now))

        tasks = [asyncio.create_task(sleep("b", 2)), asyncio.create_task(sleep("a", 1))]
        await clock.advance(0)
        assert order == []
        await clock.advance(1.5)
        assert order == [("a", 1.0)]
        await clock.advance(10)
        assert order == [("a", 1.0), ("b", 2.0)]
        assert clock.now == 11.5
        with pytest.raises(ValueError, match="time goes forward"):
            await clock.advance(-1)
        await asyncio.gather(*tasks)

    run_with_clock(scenario)
