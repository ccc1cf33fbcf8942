"""Which event loop runs: the best that works here, or the one that EMBER_LOOP names."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from ember._build import ASKED_PURE

if TYPE_CHECKING:
    from collections.abc import Coroutine

NAMES = ("io_uring", "epoll", "uvloop", "asyncio")


class Choice:
    """A loop's name (one of NAMES) and, for people, why it was chosen."""

    __slots__ = ("name", "reason")

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def __repr__(self) -> str:
        return f"Choice(name={self.name!r}, reason={self.reason!r})"


def _no_core() -> str | None:
    """Why the compiled loop cannot be had, or None when it can."""
    if ASKED_PURE:
        return "EMBER_PURE=1 asks for the pure build, which has no loop of its own"
    try:
        import ember.eventloop._transport  # noqa: F401
    except ImportError as error:
        return f"the compiled loop was not built ({error})"
    return None


_ring_refusal: list[str | None] = []


def _no_ring() -> str | None:
    """Why io_uring cannot be had, or None; asked of the kernel once per process."""
    if not _ring_refusal:
        from ember.eventloop._stream import probe_ring

        _ring_refusal.append(probe_ring())
    return _ring_refusal[0]


def _no_uvloop() -> str | None:
    if importlib.util.find_spec("uvloop") is None:
        return "uvloop is not installed (pip install 'emberloop[fast]')"
    return None


def choose() -> Choice:
    """The loop that `new_event_loop` makes.

    EMBER_LOOP=io_uring|epoll|uvloop|asyncio forces one; RuntimeError when that cannot be had.
    """
    forced = os.environ.get("EMBER_LOOP", "")
    if forced:
        if forced not in NAMES:
            raise RuntimeError(f"EMBER_LOOP={forced}: unknown loop; known: {', '.join(NAMES)}")
        refusal = None
        if forced in ("io_uring", "epoll"):
            refusal = _no_core()
            if refusal is None and forced == "io_uring":
                refusal = _no_ring()
        elif forced == "uvloop":
            refusal = _no_uvloop()
        if refusal is not None:
            raise RuntimeError(f"EMBER_LOOP={forced}: {refusal}")
        return Choice(forced, f"EMBER_LOOP={forced}")
    refusal = _no_core()
    if refusal is None:
        refusal = _no_ring()
        if refusal is None:
            return Choice("io_uring", "the compiled loop is built and the kernel offers io_uring")
        return Choice("epoll", refusal)
    if _no_uvloop() is None:
        return Choice("uvloop", refusal)
    return Choice("asyncio", f"{refusal}; {_no_uvloop()}")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new event loop of the kind that `choose()` names; a `loop_factory` for asyncio.Runner."""
    name = choose().name
    if name in ("io_uring", "epoll"):
        from ember.eventloop.loop import Loop

        # A ring that was not asked for by name, and fails though the probe's did not, is epoll.
        forced = name == "epoll" or os.environ.get("EMBER_LOOP") == name
        return Loop(backend=name if forced else None)
    if name == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.SelectorEventLoop() if os.name == "posix" else asyncio.new_event_loop()


def run(main: Coroutine[Any, Any, Any], *, debug: bool | None = None) -> Any:
    """As asyncio.run(), on a loop from `new_event_loop`."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def report() -> dict[str, Any]:
    """Facts about the choice, for `ember doctor`: what runs, why, and what else there is."""
    core = _no_core()
    facts: dict[str, Any] = {
        "kernel": os.uname().release if hasattr(os, "uname") else "",
        "forced": os.environ.get("EMBER_LOOP") or None,
        "available": {
            "io_uring": core or _no_ring() or True,
            "epoll": core or True,
            "uvloop": _no_uvloop() or True,
            "asyncio": True,
        },
    }
    try:
        choice = choose()
    except RuntimeError as error:
        return {"loop": None, "reason": str(error), **facts}
    return {"loop": choice.name, "reason": choice.reason, **facts}
