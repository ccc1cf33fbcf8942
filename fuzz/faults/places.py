"""Servers in a thread, calls that fail in them, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from ember import Ember, FileResponse, Request, Response, ServerLimits, StreamingResponse
from ember.eventloop import Loop
from ember.protocol import serve

from fuzz.faults.calls import ALLOCATIONS, LIVING, SERVING
from fuzz.faults.clients import (
    BIG,
    DEEDS,
    HOST,
    PIECES,
    TIMEOUT,
    Client,
    Found,
    InVain,
    Lost,
    act,
    at_once,
    echoed,
    plain,
)

LIMITS = ServerLimits(header_timeout=3, body_timeout=3, write_timeout=3, keep_alive_timeout=5)

shim = ctypes.CDLL(None)
shim.fault_disarm.restype = shim.fault_seen.restype = ctypes.c_long
shim.fault_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int)


def application(file: Path) -> Ember:
    app = Ember()

    @app.get("/hello")
    async def hello(name: str = "you") -> str:
        return f"hello {name}"

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    @app.get("/big")
    async def big() -> Response:
        return Response(BIG)

    @app.get("/pieces")
    async def pieces() -> StreamingResponse:
        async def each() -> AsyncIterator[bytes]:
            for piece in PIECES:
                yield piece
                await asyncio.sleep(0)

        return StreamingResponse(each())

    @app.get("/file")
    async def sent_file() -> FileResponse:
        return FileResponse(file)

    return app


class Place:
    """A loop in a thread, with an HTTP server and an asyncio one; `port` and `echo_port`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.failure: BaseException | None = None
        self.loop: Any = None
        self.server: Any = None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        if not self.ready.wait(TIMEOUT):
            raise Found("the server does not start")

    def _run(self) -> None:
        self.native_id = threading.get_native_id()
        try:
            self.loop = Loop(backend=os.environ["EMBER_LOOP"])
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.failure = error
            self.ready.set()
            return
        try:
            self.loop.run_until_complete(self._begin())
            self.ready.set()
            self.loop.run_forever()
            self.loop.run_until_complete(self._end())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.failure = error
        finally:
            try:
                self.loop.close()
            except BaseException as error:  # noqa: BLE001 - the same
                self.failure = self.failure or error
            self.ready.set()

    async def _begin(self) -> None:
        self.server = await serve(application(self.file), host=HOST, port=0, limits=LIMITS)
        self.port = self.server.addresses[0][1]
        self.echo = await asyncio.start_server(self._echo, HOST, 0)
        self.echo_port = self.echo.sockets[0].getsockname()[1]

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, OSError, MemoryError):
            while data := await reader.read(1 << 16):
                writer.write(data[:100])
                writer.write(data[100:])
                await writer.drain()
        writer.close()

    async def _end(self) -> None:
        self.echo.close()
        await self.server.close()

    def call(self, coroutine: Any) -> Any:
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(TIMEOUT)

    def stop(self) -> BaseException | None:
        if self.thread.is_alive() and self.loop is not None:
            with contextlib.suppress(RuntimeError):  # it ends already
                self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(TIMEOUT)
        if self.thread.is_alive():
            raise Found("the server does not end")
        return self.failure


def eventually(is_true: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + TIMEOUT
    while not is_true():
        if time.monotonic() > end:
            raise Found(what())
        time.sleep(0.002)


def descriptors() -> list[str]:
    names = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{name}").split(":")[0])
    return sorted(names)


class Served:
    """Faults while connections are served; the loop lives on."""

    calls = SERVING
    deeds = DEEDS

    def __init__(self, file: Path) -> None:
        self.file = file
        self.begin()

    def begin(self) -> None:
        self.place = Place(self.file)
        act(self.place)
        shim.fault_thread(self.place.native_id)
        self.wait_idle()
        self.base = descriptors()

    def wait_idle(self) -> None:
        place = self.place
        eventually(
            lambda: place.failure is None and place.server.connections == 0,
            lambda: f"{place.server.connections} connections are left; {place.failure!r}",
        )

    def try_one(self, call: str, nth: int, times: int, error: int) -> tuple[int, int]:
        """Returns how many calls there were, and how many of them failed."""
        shim.fault_arm(call.encode(), nth, times, error)
        try:
            act(self.place, self.deeds)
        finally:
            failed = shim.fault_disarm()
        seen = shim.fault_seen()
        if failed:
            self.check()
        return seen, failed

    def check(self) -> None:
        place = self.place
        if place.failure is not None:
            raise Found(f"the loop ended: {place.failure!r}")
        # It may rest for a second, when it believes that there are no descriptors left.
        with Client(place.port) as client:
            try:
                client.get("/hello", b"hello you")
            except Lost:
                raise Found("the next client is refused") from None
        with Client(place.echo_port) as client:
            client.send(b"x")
            if client.exactly(1) != b"x":
                raise Found("the next echo is another")
        self.wait_idle()
        gc.collect()  # an error that went through many frames may be in a cycle
        eventually(
            lambda: len(descriptors()) <= len(self.base),
            lambda: f"descriptors are left: {Counter(descriptors()) - Counter(self.base)}",
        )
        eventually(
            lambda: len(place.loop._streams()) <= 2,
            lambda: f"streams are left: {place.loop._streams()}",
        )

    def end(self) -> None:
        failure = self.place.stop()
        if failure is not None:
            raise Found(f"the loop ended with {failure!r}")


class Lived:
    """Faults in the life of a loop: made, run, closed. It may say that it cannot."""

    calls = LIVING

    def __init__(self, file: Path) -> None:
        self.file = file
        self.life()
        self.base = descriptors()

    def life(self) -> None:
        place = Place(self.file)
        try:
            if place.failure is None:
                plain(place)
                echoed(place)
        except (Lost, ConnectionError):
            pass
        finally:
            failure = place.stop()
        if failure is not None and not isinstance(failure, OSError | MemoryError | RuntimeError):
            raise Found(f"it ended with {failure!r}")

    def try_one(self, call: str, nth: int, times: int, error: int) -> tuple[int, int]:
        shim.fault_arm(call.encode(), nth, times, error)
        try:
            self.life()
        finally:
            failed = shim.fault_disarm()
        seen = shim.fault_seen()
        gc.collect()
        eventually(
            lambda: len(descriptors()) <= len(self.base),
            lambda: f"descriptors are left: {Counter(descriptors()) - Counter(self.base)}",
        )
        return seen, failed

    def end(self) -> None:
        return


class HotPath(Served):
    """Python has no memory once, while requests are answered that wait for nothing."""

    calls = ALLOCATIONS
    deeds = (at_once,)


class Shaken(Served):
    """Python has no memory once, anywhere, in the application and in asyncio too. Either may leave
    a task that nobody wakes; so only that nothing crashes and no byte is wrong is asked for."""

    calls = ALLOCATIONS
    deeds = DEEDS

    def try_one(self, call: str, nth: int, times: int, error: int) -> tuple[int, int]:
        Client.timeout = 1.0
        try:
            return super().try_one(call, nth, times, error)
        except InVain:
            return nth, 1
        finally:
            Client.timeout = TIMEOUT

    def check(self) -> None:
        end = time.monotonic() + 1.0
        while self.place.server.connections and time.monotonic() < end:
            time.sleep(0.002)
        if self.place.failure is not None or self.place.server.connections:
            self.place.stop()
            self.begin()
