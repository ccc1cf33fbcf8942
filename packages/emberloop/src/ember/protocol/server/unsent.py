"""How much of what was written to an asyncio transport its peer has not taken."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio


def unsent(transport: asyncio.Transport, more: int = 0) -> int:
    """Bytes in the transport, `more` on their way to it, and those in the kernel; 0 when there is
    nothing above the kernel.

    Those in the kernel count: a slow reader that makes progress must not look like one that takes
    nothing.
    """
    size = transport.get_write_buffer_size() + more
    secured = transport.get_extra_info("ssl_object") is not None
    if secured:
        # asyncio's TLS hands everything down at once: what waits, waits one floor below.
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        if below is not None:
            size += below.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if (size or secured) and sock is not None and sock.fileno() >= 0 and sys.platform == "linux":
        import fcntl
        import termios

        queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        size += int.from_bytes(queued, sys.byteorder)
    return size
