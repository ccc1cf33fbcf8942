"""Sends requests over many connections, as fast as the responses arrive."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ember.cli.bench.figures import Figures
from ember.exceptions import IncompleteResponse, InvalidResponse
from ember.protocol.http1.responses import END, Event, ResponseHead, ResponseParser

if TYPE_CHECKING:
    import ssl

#: Seconds between two checks of progress and timeouts.
TICK = 0.25
#: Seconds before a new try, if a connection was refused or had no response.
PAUSE = 0.1

clock = time.perf_counter


class Target(NamedTuple):
    """The address of the server, and the bytes of one request."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    request: bytes
    bodiless: bool


class Plan(NamedTuple):
    """How many requests are sent, and in which way."""

    connections: int
    #: Seconds; None with `requests`.
    duration: float | None
    requests: int | None
    pipeline: int
    #: Seconds in which a response has to arrive.
    timeout: float


class _Connection(asyncio.Protocol):
    """One connection with `pipeline` requests in flight."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = ResponseParser()
        self._method = "HEAD" if load.target.bodiless else "GET"
        self._head: ResponseHead | None = None
        self._sent: deque[float] = deque()
        self._transport: asyncio.Transport | None = None
        self._ending = False
        #: Whether it had a response.
        self.responded = False
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def begin(self) -> None:
        """Send the first requests."""
        self._send(self._load.plan.pipeline)

    def _send(self, count: int) -> None:
        load = self._load
        count = load.claim(count)
        if count and self._transport is not None:
            self._sent.extend([clock()] * count)
            for _ in range(count):
                self._parser.request_sent(self._method)
            self._transport.write(load.target.request * count)

    def data_received(self, data: bytes) -> None:
        self._load.figures.bytes += len(data)
        try:
            self._took(self._parser.feed(data))
        except InvalidResponse:
            self._give_up("malformed")
        else:
            if self._parser.broken is not None:
                self._give_up("malformed")

    def eof_received(self) -> None:
        try:
            self._took(self._parser.eof())
        except IncompleteResponse:
            return  # connection_lost counts the requests without response
        except InvalidResponse:
            self._give_up("malformed")

    def _took(self, events: list[Event]) -> None:
        responses = 0
        load = self._load
        now = clock()
        for event in events:
            if isinstance(event, ResponseHead):
                if event.upgraded:
                    raise InvalidResponse(f"the server changed the protocol ({event.status})")
                self._head = event
            elif event is END and self._head is not None:
                responses += 1
                load.responded(self._head.status, now - self._sent.popleft())
                self._ending = not self._head.keep_alive
        if not responses:
            return
        self.responded = True
        if self._ending:
            # The server closes the connection: later requests on it get no response.
            load.unclaim(len(self._sent))
            self._sent.clear()
            self.close()
        else:
            self._send(responses)

    def look(self, now: float) -> None:
        """Close the connection if a response takes too long."""
        if self._sent and now - self._sent[0] > self._load.plan.timeout:
            self._give_up("timeout")

    def _give_up(self, why: str) -> None:
        self._load.failed(why, len(self._sent) or 1)
        self._sent.clear()
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent and not self._load.over.is_set():
            self._load.failed("closed", len(self._sent))
        self._sent.clear()
        if not self.lost.done():
            self.lost.set_result(None)


class Load:
    """Runs a plan against a target. `figures` has the results, also while it runs."""

    def __init__(self, target: Target, plan: Plan) -> None:
        self.target = target
        self.plan = plan
        self.figures = Figures()
        self.over = asyncio.Event()
        self._unclaimed = plan.requests
        self._open: set[_Connection] = set()

    async def run(self, progress: Callable[[float], object] | None = None) -> Figures:
        """Connect, send until the plan is done or `over` is set, disconnect.

        `progress(seconds)` is called four times a second. Raises OSError if it cannot connect.
        """
        first = [await self._connect() for _ in range(min(1, self.plan.connections))]
        wanted = (self._connect() for _ in range(self.plan.connections - len(first)))
        rest = await asyncio.gather(*wanted, return_exceptions=True)
        for failure in rest:
            if isinstance(failure, BaseException) and not isinstance(failure, OSError):
                raise failure
        connections = [*first, *(c for c in rest if isinstance(c, _Connection))]
        refused = self.plan.connections - len(connections)
        if refused:
            self.figures.errors["connect"] += refused
        began, cpu = clock(), time.process_time()
        # Refused connections are tried again, beside the others.
        keepers = [
            asyncio.ensure_future(self._keep(connection))
            for connection in (*connections, *[None] * refused)
        ]
        try:
            await self._wait(began, progress)
        finally:
            self.over.set()
            self.figures.seconds = clock() - began
            self.figures.cpu = time.process_time() - cpu
            for keeper in keepers:
                keeper.cancel()
            lost = [connection.lost for connection in self._open]
            for connection in list(self._open):
                connection.close()
            await asyncio.gather(*keepers, *lost, return_exceptions=True)
        return self.figures

    async def _wait(self, began: float, progress: Callable[[float], object] | None) -> None:
        end = None if self.plan.duration is None else began + self.plan.duration
        answered, moved = 0, began
        while not self.over.is_set():
            now = clock()
            if end is not None and now >= end:
                return
            if self.figures.requests > answered:
                answered, moved = self.figures.requests, now
            elif end is None and now - moved > self.plan.timeout + TICK:
                return  # no more responses, and there is no other end
            for connection in list(self._open):
                connection.look(now)
            if progress is not None:
                progress(now - began)
            try:
                pause = TICK if end is None else min(TICK, end - now)
                await asyncio.wait_for(self.over.wait(), pause)
            except TimeoutError:
                continue

    async def _keep(self, connection: _Connection | None) -> None:
        """Keep a connection open, and replace it if it was closed."""
        while not self.over.is_set():
            if connection is None:
                try:
                    connection = await self._connect()
                except OSError:
                    self.figures.errors["connect"] += 1
                    await asyncio.sleep(PAUSE)
                    continue
            connection.begin()
            await connection.lost
            self._open.discard(connection)
            if not connection.responded:
                await asyncio.sleep(PAUSE)
            connection = None

    async def _connect(self) -> _Connection:
        target = self.target
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.plan.timeout):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), target.host, target.port, ssl=target.tls
                )
        except TimeoutError:
            raise OSError(f"no connection within {self.plan.timeout:g} s") from None
        self._open.add(connection)
        return connection

    # -- called by connections ----------------------------------------------------------------

    def claim(self, count: int) -> int:
        """How many of `count` requests may still be sent."""
        if self.over.is_set():
            return 0
        if self._unclaimed is None:
            return count
        count = min(count, self._unclaimed)
        self._unclaimed -= count
        return count

    def unclaim(self, count: int) -> None:
        """Give back claimed requests; another connection will send them."""
        if self._unclaimed is not None:
            self._unclaimed += count

    def responded(self, status: int, seconds: float) -> None:
        """Count a response."""
        if self.over.is_set():
            return
        self.figures.statuses[status] += 1
        self.figures.latencies.add(seconds)
        self._enough()

    def failed(self, why: str, count: int) -> None:
        """Count requests without response."""
        if not self.over.is_set():
            self.figures.errors[why] += count
            self._enough()

    def _enough(self) -> None:
        wanted, figures = self.plan.requests, self.figures
        if wanted is not None:
            done = figures.requests + figures.failed - figures.errors["connect"]
            if done >= wanted:
                self.over.set()
