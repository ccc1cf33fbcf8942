"""What both applications publish: ten events a second to everybody who listens.

Used as it is by Ember's application and by the peer's, so that both do the same between two events.
"""

from __future__ import annotations

import asyncio
import time

PERIOD = 0.1
TEXT = "the card was moved to another column, and here is what it says now: water the tomatoes"


class Feed:
    """One queue for each who listens; an event is made into text once, for all of them."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[tuple[int, str]]] = set()
        self.number = 0

    async def publish(self) -> None:
        """Ten times a second, without drifting, until it is cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += PERIOD
            await asyncio.sleep(due - loop.time())
            self.number += 1
            number, at = self.number, time.monotonic_ns()
            event = (number, f'{{"n":{number},"at":{at},"text":"{TEXT}"}}')
            for queue in self.queues:
                queue.put_nowait(event)
