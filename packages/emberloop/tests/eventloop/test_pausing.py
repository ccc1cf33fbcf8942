"""What a protocol may do when it is told to pause writing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from .conftest import Run


class Paused(asyncio.Protocol):
    """Calls `told` when it has to pause."""

    def __init__(self, told: Callable[[], None]) -> None:
        self.told = told

    def pause_writing(self) -> None:
        self.told()


@pytest.mark.parametrize("size", [1, 9_000, 600_000])
def test_it_may_write_elsewhere(run: Run[None], size: int) -> None:
    """It is told while what all streams wrote in this turn is sent: what it adds is sent too, once
    and at its place."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ends: list[socket.socket] = []
        told: list[None] = []

        async def connect(protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            ends.append(theirs)
            transport, _ = await loop.create_connection(protocol, sock=ours)
            return transport

        def write_elsewhere() -> None:
            told.append(None)
            for number in (0, 1, 2):
                write(number, bytes([65 + number]) * size)

        def write(number: int, data: bytes) -> None:
            sent[number] += data
            others[number].write(data)

        others = [await connect(asyncio.Protocol) for _ in range(3)]
        full = await connect(lambda: Paused(write_elsewhere))
        for _ in range(5):
            sent = [b""] * 3
            full.set_write_buffer_limits(high=1 << 30)
            full.write(bytes(600_000))  # more than the socket takes: what follows waits behind it
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            waiting = full.get_write_buffer_size()
            assert waiting > 0
            full.set_write_buffer_limits(high=waiting + 5_000)
            told.clear()
            write(0, b"before")
            full.write(bytes(12_000))
            write(2, b"after")
            async with asyncio.timeout(120):
                for number, end in enumerate(ends[:3]):
                    got = b""
                    while len(got) < len(sent[number]) or not told:
                        got += await loop.sock_recv(end, 1 << 20)
                    assert got == sent[number]
                while full.get_write_buffer_size():
                    await loop.sock_recv(ends[3], 1 << 20)
        for transport in (full, *others):
            transport.abort()
        for end in ends:
            end.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(main())


class Counted(asyncio.Protocol):
    """Writes down when it has to pause and when it may go on."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def test_raised_limits_let_it_go_on_after_the_next_send(run: Run[None]) -> None:
    """As on stock asyncio: the limits are looked at when something was sent, and not when the
    transport has something else to do."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with theirs:
            transport, protocol = await loop.create_connection(Counted, sock=ours)
            transport.write(bytes(4_000_000))
            await asyncio.sleep(0.01)
            assert protocol.told == ["pause"]
            transport.set_write_buffer_limits(high=16_000_000, low=8_000_000)
            for look in (transport.pause_reading, transport.resume_reading):
                look()
                await asyncio.sleep(0.01)
            assert protocol.told == ["pause"]
            async with asyncio.timeout(120):
                while protocol.told == ["pause"]:
                    await loop.sock_recv(theirs, 1 << 20)
            assert protocol.told == ["pause", "resume"]
            assert transport.get_write_buffer_size() > 0
            transport.abort()
            await asyncio.sleep(0)

    run(main())
