"""Which event loop serves."""

from __future__ import annotations

import asyncio
import os


def new_loop(
    name: str, buffers: tuple[int, int] | None = None
) -> tuple[asyncio.AbstractEventLoop, str]:
    """A loop by name, "auto" for what EMBER_LOOP says or the best that works, and its name.

    `buffers`: how many receive buffers a ring has, and of how many bytes each; None: the default.
    RuntimeError says why a loop cannot be had.
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
