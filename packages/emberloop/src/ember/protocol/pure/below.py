"""What a connection needs of the world below it."""

from __future__ import annotations

from typing import Protocol

from ember.exceptions import ClientDisconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.protocol.openfile import OpenFile


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
        raise ClientDisconnected("the client left before the end of the answer")


GONE = _Gone()
