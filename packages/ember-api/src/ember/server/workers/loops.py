"""Makes the event loop of a server."""

from __future__ import annotations

import asyncio
import os


def new_loop(
    name: str, buffers: tuple[int, int] | None = None
) -> tuple[asyncio.AbstractEventLoop, str]:
    """Returns (loop, its name). "auto" is the loop of EMBER_LOOP, or the best one that works.

    `buffers`: the number of receive buffers of an io_uring loop, and their size in bytes; None: the
    default. Raises RuntimeError, with the reason, if the loop is not available.
    """
    loop, found = _new_loop(name)
    if buffers is not None and found == "io_uring":
        loop._set_receive_buffers(*buffers)  # type: ignore[attr-defined]
    return loop, found


def _new_loop(name: str) -> tuple[asyncio.AbstractEventLoop, str]:
    from ember.eventloop import choose, new_event_loop

    if name == "auto":
        return new_event_loop(), choose().name
    before = os.environ.get("EMBER_LOOP")
    os.environ["EMBER_LOOP"] = name
    try:
        return new_event_loop(), name
    except RuntimeError as error:
        raise RuntimeError(str(error).replace(f"EMBER_LOOP={name}", f'loop="{name}"')) from None
    finally:
        if before is None:
            del os.environ["EMBER_LOOP"]
        else:
            os.environ["EMBER_LOOP"] = before
