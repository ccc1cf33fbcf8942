"""A connection that another codec speaks on: see `ember.protocol.server.codec`."""

from __future__ import annotations

import logging
from typing import cast

from ember._interrupts import from_signal
from ember.protocol.server.wheel import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ember.protocol.server.codec import Codec, Output
    from ember.protocol.server.pure.deadlines import Deadlines
    from ember.protocol.server.pure.interfaces import Transport

log = logging.getLogger("ember.protocol")


class HandedOver:
    """The part of a connection that has another codec than HTTP/1.1."""

    # Of the connection:
    buffer: bytearray
    closing: bool
    codec: Codec | None
    deadlines: Deadlines
    draining: bool
    ended: bool
    is_lost: bool
    requests: int
    successor: Callable[[Output], Codec] | None
    _paused: bool
    _processing: bool
    _reading: bool
    _transport: Transport

    @property
    def peer(self) -> str:
        """The client's address, for the log."""
        raise NotImplementedError

    def abort(self) -> None:
        """End the connection now."""
        raise NotImplementedError

    def flush(self) -> None:
        """Hand what was collected to the transport."""
        raise NotImplementedError

    def after_input(self) -> None:
        """Go on, now that something has changed."""
        raise NotImplementedError

    def hand_over(self, successor: Callable[[Output], Codec]) -> None:
        """Let `successor(self)` make what speaks here from now on. It begins once the exchange in
        flight has ended."""
        self.successor = successor
        if not self._processing:
            self.after_input()

    def start_codec(self, successor: Callable[[Output], Codec]) -> None:
        """The exchange that answered with an upgrade has ended."""
        self.successor = None
        self.deadlines.phase = ""
        self.deadlines.read = self.deadlines.handler = NEVER
        data = bytes(self.buffer)
        self.buffer.clear()
        try:
            codec = self.codec = successor(cast("Output", self))
            if self.is_lost:
                self.codec = None  # it was ended while the codec was made
                codec.connection_lost()
                return
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            if self._paused:
                codec.pause_writing()
            if data and not self.closing:
                codec.data_received(data)
            if self.ended and not self.closing:
                codec.eof_received()
            if self.draining and not self.closing:
                codec.drain()
        except BaseException as error:  # noqa: BLE001 - it ends the connection
            self._codec_failed(error)
        finally:
            self.flush()

    def feed_codec(self, data: bytes | memoryview) -> None:
        """Bytes arrived."""
        assert self.codec is not None
        self._processing = True  # what is sent meanwhile leaves together
        try:
            self.codec.data_received(bytes(data))
        except BaseException as error:  # noqa: BLE001 - it ends the connection
            self._codec_failed(error)
        finally:
            self._processing = False
            self.flush()

    def call_codec(self, method: Callable[[], None]) -> None:
        """Call a method of the codec. The caller (the loop, a server that stops) goes on with
        the other connections, whatever it raises."""
        try:
            method()
        except BaseException as error:  # noqa: BLE001 - it ends the connection
            self._codec_failed(error)

    def _codec_failed(self, error: BaseException) -> None:
        """The codec raised `error`: a line in the log, and the connection ends with a reset."""
        if not self.is_lost:
            self.abort()
        if from_signal(error):
            raise error
        log.error("%s: the codec failed", self.peer, exc_info=error)

    # -- what the codec asks for --------------------------------------------------------------

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""
        self._reading = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        self._reading = True
        self._transport.resume_reading()

    def expect_within(self, seconds: float) -> None:
        """See `codec.Output`."""
        self.deadlines.expect("", seconds)

    def count_request(self) -> None:
        """One more request came over this connection."""
        self.requests += 1
