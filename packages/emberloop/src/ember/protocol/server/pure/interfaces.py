"""What a connection needs of the world below it, and its parts of the connection."""

from __future__ import annotations

from typing import Protocol

from ember.exceptions import ClientDisconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import contextvars
    from collections.abc import Callable

    from ember.exceptions import ProtocolError
    from ember.limits import ServerLimits
    from ember.protocol.server.application import Application
    from ember.protocol.server.codec import Codec, Output
    from ember.protocol.server.openfile import OpenFile
    from ember.protocol.server.pure.deadlines import Deadlines
    from ember.protocol.server.tls import TLSInfo
    from ember.protocol.telemetry.pure.observer import Observer


class Transport(Protocol):
    """What the connection needs of the world below; every asyncio transport has it."""

    def write(self, data: bytes) -> object: ...
    def pause_reading(self) -> object: ...
    def resume_reading(self) -> object: ...


class Owner(Protocol):
    """Who made the connection and can end it."""

    def close_connection(self, linger: bool) -> None: ...
    def abort_connection(self) -> None: ...
    def unsent(self) -> int: ...
    def unread(self) -> bool: ...
    def watch_peer(self) -> None: ...
    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool: ...


class Reading(Protocol):
    """What the body of a request needs of its connection."""

    buffer: bytearray
    deadlines: Deadlines
    ended: bool
    limits: ServerLimits
    loop: asyncio.AbstractEventLoop | None

    def abort(self) -> None: ...
    def after_input(self) -> None: ...
    def close(self) -> None: ...
    def cut_short(self) -> None: ...
    def exhausted(self) -> bool: ...
    def refuse(self, error: ProtocolError) -> None: ...
    def write(self, data: bytes) -> None: ...


class Answering(Protocol):
    """What the body of a request needs of its exchange."""

    answered: bool
    started: bool

    @property
    def max_body_size(self) -> int: ...


class Sending(Protocol):
    """What a response piece by piece needs of its connection."""

    @property
    def flowing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool: ...


class Serving(Reading, Sending, Protocol):
    """What an exchange needs of its connection."""

    app: Application
    client: tuple[str, int] | None
    closing: bool
    context: contextvars.Context
    draining: bool
    is_lost: bool
    observer: Observer | None
    retiring: bool
    scheme: str
    successor: Callable[[Output], Codec] | None
    tls: TLSInfo | None
    written: int
    _owner: Owner

    def answered(self, keep_alive: bool) -> None: ...
    def collect(self, data: bytes) -> None: ...
    def end_unanswered(self) -> None: ...
    def flush(self) -> None: ...
    def flush_when_due(self) -> None: ...


class _Gone:
    """What is below a connection that was lost: nothing that could be kept alive by it."""

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close_connection(self, linger: bool) -> None: ...
    def abort_connection(self) -> None: ...

    def watch_peer(self) -> None: ...

    def unsent(self) -> int:
        return 0

    def unread(self) -> bool:
        return False

    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool:
        raise ClientDisconnected("the client left before the end of the response")


GONE = _Gone()
