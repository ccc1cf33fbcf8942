"""What a connection needs of the world below it: types only."""

from __future__ import annotations

from typing import Protocol

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
    async def send_file(self, file: OpenFile, offset: int, size: int) -> bool: ...
