"""Connections straight on the compiled loop, as Python code sees them."""

import asyncio
import socket

from ember.limits import ServerLimits
from ember.protocol.server.application import Application
from ember.protocol.server.pure.asyncio_protocol import Admitting

class NativeListener:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        app: Application,
        limits: ServerLimits,
        server: Admitting,
        strict: bool,
        backlog: int,
        shared: bool = False,
    ) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def look(self) -> None: ...
    def close(self) -> None: ...
