"""The two ends of a control socket: orders to a child, reports of a child."""

from __future__ import annotations

import contextlib
import enum
import socket


class Order(enum.Enum):
    """An order of the supervisor to a child: one byte on the control socket."""

    #: Begin to serve. For a child that was started before it is needed.
    SERVE = b"g"
    #: Finish the requests in flight and end. Other workers take the new connections.
    RETIRE = b"r"
    #: Finish the requests in flight and end. The whole server stops.
    STOP = b"s"
    #: End at once.
    ABORT = b"a"


def report(control_socket: socket.socket, word: str, text: str = "") -> None:
    """Tell the supervisor a word with a line of text: `ready LOOP` and `failed REASON`, which the
    core reads, or a word of its user. Called in the child."""
    line = f"@{word} {' '.join(text.split())}\n".encode()
    with contextlib.suppress(OSError):  # the supervisor has ended: `read_orders` will show it
        control_socket.sendall(line)


def read_orders(control_socket: socket.socket) -> bytes | None:
    """The new orders, as bytes of `Order`; None if there are none, empty if the supervisor has
    ended. Called in the child."""
    try:
        return control_socket.recv(64, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
