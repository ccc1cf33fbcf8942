"""Carries a program out on one loop and notes what could be seen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.loop.program import Connection, Op, Program

#: Seconds that a program may take before it hangs.
TIMEOUT = 6.0
_PATTERN = bytes((i * 7 + i // 251 * 13) & 255 for i in range(65521))
_RESET = struct.pack("ii", 1, 0)
_SMALL_BUFFERS = 16384

#: What was seen: by connection ("0", "0 peer", "0 server"), and of the loop.
History = dict[str, list[str]]


def pattern(position: int, size: int) -> bytes:
    """What every sender sends: its bytes say where in the stream they belong."""
    start = position % len(_PATTERN)
    return (_PATTERN * (size // len(_PATTERN) + 2))[start : start + size]


class Watched:
    """What the two kinds of protocol have in common."""

    keep_open = False

    def __init__(self, play: Play, number: int, name: str) -> None:
        self.play, self.number, self.name = play, number, name
        self.transport: Any = None

    def told(self, callback: str, text: str = "") -> None:
        self.play.note(self.name, text or callback)
        self.play.react(self.number, callback)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.play.opened(self)
        self.told("made")

    def got(self, data: bytes) -> None:
        self.play.received(self.name, data)
        self.play.react(self.number, "data")

    def eof_received(self) -> bool:
        self.told("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.told("pause")

    def resume_writing(self) -> None:
        self.told("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told("lost", f"lost {type(exc).__name__}")


class Simple(Watched, asyncio.Protocol):
    """A protocol that is given bytes."""

    def data_received(self, data: bytes) -> None:
        self.got(data)


class Buffered(Watched, asyncio.BufferedProtocol):
    """A protocol that has them put into its own buffer."""

    def get_buffer(self, sizehint: int) -> memoryview:
        # SSLProtocol fills a slice of it, and of a bytearray that would be a copy.
        self.room = memoryview(bytearray(4096))
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.got(bytes(self.room[:nbytes]))


class Play:
    """One program on one loop; `history` is what came of it."""

    def __init__(self, program: Program, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
        self.program, self.tls = program, tls
        self.history: History = {}
        #: where the loop's own callbacks are noted: their order is only that of who scheduled them
        self.place = "loop"
        self.wrong: list[str] = []
        self.transports: dict[int, Any] = {}
        self.protocols: list[Watched] = []
        self.peers: dict[int, socket.socket] = {}
        self.sent: dict[str, int] = {}
        self.got: dict[str, int] = {}
        self.reactions = {key: list(lists) for key, lists in program.reactions.items()}
        self.reacted: set[tuple[int, str]] = set()
        self.events = self.pending = self.raised = 0
        self.clean: list[Callable[[], object]] = []
        self.folder = tempfile.TemporaryDirectory(prefix="loop-")

    # ---- what is seen ----------------------------------------------------------------------

    def note(self, name: str, text: str) -> None:
        self.events += 1
        self.history.setdefault(name, []).append(text)

    def received(self, name: str, data: bytes) -> None:
        """Bytes in a row are one entry: where they are cut is nobody's promise."""
        self.events += 1
        position = self.got.get(name, 0)
        self.got[name] = position + len(data)
        if data != pattern(position, len(data)):
            self.wrong.append(f"{name}: other bytes than were sent, from {position} on")
        lines = self.history.setdefault(name, [])
        if lines and lines[-1].startswith("data "):
            lines[-1] = f"data {int(lines[-1][5:]) + len(data)}"
        else:
            lines.append(f"data {len(data)}")

    def failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.note("errors", type(error).__name__)
        if not isinstance(error, ZeroDivisionError):
            self.wrong.append(f"reported to the loop: {context['message']}: {error!r}")

    # ---- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Everything, from connecting to the last `connection_lost`."""
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.failed)
        self.tasks: set[asyncio.Task[Any]] = set()
        try:
            async with asyncio.timeout(TIMEOUT):
                for number, connection in enumerate(self.program.connections):
                    await self.connect(number, connection)
                await self.rest()
                for ops in self.program.steps:
                    self.reacted.clear()
                    self.loop.call_soon(self.perform, ops)
                    await self.rest()
                await self.end()
        except TimeoutError:
            self.wrong.append("it hangs")
        finally:
            for clean in reversed(self.clean):
                clean()
            for peer in self.peers.values():
                peer.close()
            await asyncio.sleep(0.002)
            self.folder.cleanup()

    async def rest(self) -> None:
        """Until nothing happens any more."""
        quiet = 0
        while quiet < 3 or self.pending:
            before = self.events
            for _ in range(3):
                await asyncio.sleep(0)
            await asyncio.sleep(0.0002)
            quiet = 0 if self.events != before else quiet + 1

    async def end(self) -> None:
        """Close what is open; the peers read to the end."""
        self.reactions.clear()
        for transport in self.transports.values():
            transport.close()
        while True:
            for number in self.peers:
                self.read_all(number)
            if all(lost(self.history.get(p.name, [])) for p in self.protocols):
                break
            for protocol in self.protocols:
                # A full pair of both ends that wait for each other would never end.
                if protocol.number not in self.peers:
                    protocol.transport.abort()
            await asyncio.sleep(0.0005)
        await self.rest()
        for number in self.peers:
            self.read_all(number)
            name = f"{number} peer"
            self.note(name, f"{self.got.get(name, 0)} bytes")

    def read_all(self, number: int) -> None:
        peer, name = self.peers[number], f"{number} peer"
        while peer.fileno() >= 0:
            try:
                data = peer.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError as error:
                self.note(name, type(error).__name__)
                peer.close()
                return
            if not data:
                self.note(name, "end")
                peer.close()
                return
            self.events += 1
            position = self.got.get(name, 0)
            self.got[name] = position + len(data)
            if data != pattern(position, len(data)):
                self.wrong.append(f"{name}: other bytes than were written, from {position} on")

    # ---- connections -----------------------------------------------------------------------

    def opened(self, protocol: Watched) -> None:
        self.protocols.append(protocol)
        self.transports.setdefault(protocol.number, protocol.transport)
        sock = protocol.transport.get_extra_info("socket")
        if protocol.number < len(self.program.connections):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_BUFFERS)

    def drive(self, number: int, peer: socket.socket) -> None:
        peer.setblocking(False)
        if peer.family == socket.AF_INET:
            # Else what it sends may wait for an acknowledgement, which the kernel may delay.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peers[number] = peer

    async def connect(self, number: int, connection: Connection) -> None:
        """Opens one connection, and a peer to it where the kind has one."""

        def factory(name: str = f"{number}") -> Any:
            protocol = (Buffered if connection.buffered else Simple)(self, number, name)
            protocol.keep_open = connection.keep_open
            return protocol

        family, _, role = connection.kind.partition("-")
        path = str(Path(self.folder.name) / str(number))
        if family == "pair":
            ours, theirs = socket.socketpair()
            self.drive(number, theirs)
            await self.loop.create_connection(factory, sock=ours)
        elif role == "out":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                sock = socket.socket()
                sock.setblocking(False)
                await self.loop.sock_connect(sock, listener.getsockname())
                # There before the first callback, which may want something of it.
                self.drive(number, listener.accept()[0])
                await self.loop.create_connection(factory, sock=sock)
        else:
            accepted = factory if role == "in" else lambda: factory(f"{number} server")
            if family == "unix":
                server = await self.loop.create_unix_server(accepted, path)
            else:
                server = await self.loop.create_server(accepted, "127.0.0.1", 0)
            self.clean.append(server.close)
            if role == "in":
                peer = socket.socket(server.sockets[0].family)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFERS)
                peer.connect(server.sockets[0].getsockname())
                self.drive(number, peer)
            elif family == "unix":
                await self.loop.create_unix_connection(factory, path)
            else:
                address = server.sockets[0].getsockname()
                await self.loop.create_connection(factory, *address)
        if family == "tls":
            await self.rest()
            await self.secure(number)

    async def secure(self, number: int) -> None:
        """start_tls() on both ends; their protocols go on with the new transports."""
        assert self.tls is not None
        ends = [p for p in self.protocols if p.number == number]
        if len(ends) != 2 or any(lost(self.history[p.name]) for p in ends):
            return
        if any(end.transport.get_write_buffer_size() for end in ends):
            return  # SSLProtocol asserts that nobody was told to pause before it came
        outcomes = await asyncio.gather(
            *(
                self.loop.start_tls(
                    end.transport,
                    end,  # type: ignore[arg-type]
                    self.tls[end.name.endswith("server")],
                    server_side=end.name.endswith("server"),
                    server_hostname=None if end.name.endswith("server") else "localhost",
                    ssl_handshake_timeout=5,
                    ssl_shutdown_timeout=5,
                )
                for end in ends
            ),
            return_exceptions=True,
        )
        for end, outcome in zip(ends, outcomes, strict=True):
            self.note(end.name, f"start_tls {isinstance(outcome, asyncio.Transport)}")
            if isinstance(outcome, asyncio.Transport):
                # The end that the steps are for stays the same: what it sends has one count.
                if self.transports[number] is end.transport:
                    self.transports[number] = outcome
                end.transport = outcome

    # ---- operations ------------------------------------------------------------------------

    def react(self, number: int, callback: str) -> None:
        """The next reaction, once in a step: how often some callbacks come is nobody's promise."""
        lists = self.reactions.get((number, callback))
        if lists and (number, callback) not in self.reacted:
            self.reacted.add((number, callback))
            outer, self.place = self.place, f"loop of {number}"
            ops = lists.pop(0)
            if callback == "eof":
                # Stock asyncio tells of one end several times.
                lists.clear()
            elif callback == "lost":
                # When the last byte left is up to the kernel: the peer may have read to the end.
                ops = tuple(op for op in ops if not op[0].startswith("peer_"))
            try:
                self.perform(ops)
            finally:
                self.place = outer

    def perform(self, ops: tuple[Op, ...]) -> None:
        for name, number, argument in ops:
            if name == "raise":
                self.raised += 1
                raise ZeroDivisionError
            operation: Callable[[int, Any], object] = getattr(self, f"do_{name}")
            try:
                operation(number, argument)
            except Exception as error:  # noqa: BLE001 - which ones come is what is compared
                self.note(
                    self.place if number < 0 else f"{number}", f"{name}: {type(error).__name__}"
                )


def lost(lines: list[str]) -> bool:
    return any(line.startswith("lost") for line in lines)
