from typing import Any

from ember.protocol.server._native import NativeListener

class NativeTlsListener(NativeListener):
    def __init__(
        self,
        loop: Any,
        sock: Any,
        app: Any,
        limits: Any,
        server: Any,
        strict: bool,
        backlog: int,
        shared: bool = False,
        *,
        ssl_context: Any,
    ) -> None: ...
