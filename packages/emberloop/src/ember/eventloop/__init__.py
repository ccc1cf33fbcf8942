"""An asyncio event loop on io_uring, or on epoll; usable alone.

asyncio.Runner(loop_factory=ember.eventloop.new_event_loop)
"""

from typing import TYPE_CHECKING, Any

from ember.eventloop.choose import Choice as Choice
from ember.eventloop.choose import choose as choose
from ember.eventloop.choose import new_event_loop as new_event_loop
from ember.eventloop.choose import report as report
from ember.eventloop.choose import run as run

if TYPE_CHECKING:
    from ember.eventloop.loop import Loop as Loop

__all__ = ["Choice", "Loop", "choose", "new_event_loop", "report", "run"]


def __getattr__(name: str) -> Any:
    # The compiled loop is loaded when it is used: elsewhere uvloop or asyncio serve without it.
    if name == "Loop":
        from ember.eventloop.loop import Loop

        return Loop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
