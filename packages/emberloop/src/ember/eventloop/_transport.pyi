"""asyncio's transports over our streams, as Python code sees them."""

import asyncio
from typing import Any

from ember.eventloop._stream import CoreLoop, Listener

class SocketTransport(asyncio.Transport):
    def __init__(
        self,
        loop: CoreLoop,
        sock: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> None: ...

class AcceptListener(Listener):
    def __init__(
        self, loop: CoreLoop, sock: Any, factory: Any, server: Any, ssl_options: Any
    ) -> None: ...
    def begin(self) -> None: ...
    def end(self) -> None: ...
