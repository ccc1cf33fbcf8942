"""Changes of the board, handed to every page that listens (server-sent events).

A stream starts in one of two ways. A page that was here before sends the `Last-Event-ID` it got to,
and receives what it missed from a small memory of past events. A new page, or one that was away for
too long, receives `resync`: "what you may have is out of date, read GET /tasks". After that, each
change follows as it happens.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator

from ember import ServerSentEvent


class ChangeFeed:
    """Publishes to any number of subscribers in this process and never waits for one of them.

    `remembered` events are kept for pages that come back. A subscriber may lag by `queued` events;
    one that lags further is let go with a `resync`, and its browser connects again by itself.
    """

    def __init__(self, *, remembered: int = 256, queued: int = 64) -> None:
        if queued < 2:
            raise ValueError(f"queued: at least 2, got {queued}")  # `resync` and the end must fit
        self._queued = queued
        self._past: deque[ServerSentEvent] = deque(maxlen=remembered)
        self._subscribers: set[asyncio.Queue[ServerSentEvent | None]] = set()
        self._number = 0
        # Numbers begin again with each start of the server; an id from another life must not match.
        self._life = secrets.token_hex(4)

    @property
    def subscribers(self) -> int:
        """How many pages are listening now."""
        return len(self._subscribers)

    def publish(self, event: str, data: object) -> None:
        """Tell everyone. `data` is sent as JSON."""
        self._number += 1
        message = ServerSentEvent(data=data, event=event, id=f"{self._life}-{self._number}")
        self._past.append(message)
        for queue in list(self._subscribers):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._subscribers.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(self._resync())
                queue.put_nowait(None)

    async def subscribe(
        self, last_event_id: str | None = None
    ) -> AsyncGenerator[ServerSentEvent, None]:
        """The events after `last_event_id`, until the subscriber lags too far."""
        # No await between looking at the past and joining: no event falls into the gap.
        missed = self._since(last_event_id)
        queue: asyncio.Queue[ServerSentEvent | None] = asyncio.Queue(self._queued)
        self._subscribers.add(queue)
        try:
            for event in [self._resync()] if missed is None else missed:
                yield event
            while (following := await queue.get()) is not None:
                yield following
        finally:
            self._subscribers.discard(queue)

    def _since(self, last_event_id: str | None) -> list[ServerSentEvent] | None:
        """What came after that event; None when that cannot be said."""
        life, _, number = (last_event_id or "").partition("-")
        if life != self._life or not number.isdecimal() or len(number) > 18:
            return None
        seen, forgotten = int(number), self._number - len(self._past)
        if not forgotten <= seen <= self._number:
            return None
        return list(self._past)[seen - forgotten :]

    def _resync(self) -> ServerSentEvent:
        return ServerSentEvent(data={}, event="resync", id=f"{self._life}-{self._number}")
