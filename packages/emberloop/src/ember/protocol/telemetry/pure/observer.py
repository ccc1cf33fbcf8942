"""`Observer`: told of every exchange when it is over."""

from __future__ import annotations

import logging
import time

from ember._interrupts import from_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from ember.protocol.message.pure.request import Request

log = logging.getLogger("ember.protocol")


class Observer:
    """Told of every exchange: subclass it, and give the application an `observer`."""

    def finished(
        self,
        request: Request | None,
        client: tuple[str, int] | None,
        status: int,
        sent: int,
        began: float,
        ended: float,
        aborted: bool,
    ) -> None:
        """An exchange is over.

        - `request`: None where it was refused before there was one (400, 431 ...).
        - `client`: host and port of the peer, as `request.client`.
        - `status`: of the response; 499 when the client left before there was one.
        - `sent`: bytes of the response, its head included, that were given to the connection.
        - `began`, `ended`: seconds of the monotonic clock: when its head was complete (on the
          compiled loop: the start of the turn that read it), when the last byte was given away.
        - `aborted`: the response did not come to its end.

        Called from the loop's thread, maybe in the handler's context; what it raises is logged.
        """

    # What the connection calls; the built-in observer does better.

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        pass

    def opened(self) -> None:
        pass

    def closed(self) -> None:
        pass

    def begin(self) -> float:
        return time.monotonic()

    def done(
        self,
        request: Request,
        client: tuple[str, int] | None,
        status: int,
        sent: int,
        began: float,
        aborted: bool,
    ) -> None:
        self._finished(request, client, status, sent, began, aborted)

    def refused(
        self, client: tuple[str, int] | None, status: int, sent: int, identity: str
    ) -> None:
        self._finished(None, client, status, sent, time.monotonic(), False)

    def _finished(
        self,
        request: Request | None,
        client: tuple[str, int] | None,
        status: int,
        sent: int,
        began: float,
        aborted: bool,
    ) -> None:
        try:
            self.finished(request, client, status, sent, began, time.monotonic(), aborted)
        except BaseException as error:
            if from_signal(error):
                raise
            log.exception("the observer failed")
