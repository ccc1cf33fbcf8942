"""`HTTPOutput`: what one connection sends, how it ends, and how long its peer may take.

It knows no request. `Exchange` answers through it, `Connection` adds what is received.
"""

import contextvars
import logging

from libc.math cimport INFINITY
from libc.stdint cimport uintptr_t

from ember.protocol.telemetry._observer cimport make_peer
from ember.protocol.server._sink cimport FILE_BUSY, FILE_CANNOT, FILE_SENT

from ember.protocol.message._request cimport H1_CLOSE, H1_KEEP_ALIVE

from ember._interrupts import from_signal
from ember.exceptions import ClientDisconnected
from ember.protocol.server.openfile import FileShortened
from ember.protocol.server.wheel import Wheel

log = logging.getLogger("ember.protocol")

cdef double AGAIN = 0.01        # seconds until a peer whose bytes wait to be read is judged
cdef dict PHASES = {"head": HEAD, "body": BODY, "idle": IDLE, "": NOTHING}


# ---- the output ----------------------------------------------------------------------------

cdef class HTTPOutput:
    """The sending half of a connection, with its end and its deadlines."""

    def __init__(self, app, Sink sink, *, limits=None, client=None, scheme="http",
                 bint strict_tasks=False):
        self.app = app
        self.dispatch = app.dispatch
        self.observer = getattr(app, "observer", None)
        self.limits = app.limits if limits is None else limits
        self.client = client
        if self.observer is not None:
            self.peer_told = make_peer(client)
        self.scheme = scheme
        self.sink = sink
        self.strict = strict_tasks
        # What every request starts from, so that none sees what another one has set.
        self.context = contextvars.copy_context()
        self.buffer = bytearray()
        self.read_until = self.handler_until = self.ask_at = INFINITY
        self.last_progress = self.slot = self.due = INFINITY
        self.look_within = self.limits.write_timeout / 4
        self.phase = HEAD

    cdef int attach(self, object loop, bint counts=True) except -1:
        """Deadlines hold, and handlers may wait, from now on."""
        self.loop = loop
        self.counts = counts
        if self.observer is not None:
            self.observer.attach(loop)
            if counts:
                self.observer.opened()
        self.wheel = Wheel.of(loop)
        self.clock = <const double *><uintptr_t>self.wheel.clock
        self.last_progress = self.now()
        self.expect_in(HEAD, self.limits.header_timeout)
        return 0

    cdef bint persists(self, h1_head *head) noexcept:
        """Whether the connection goes on after the response to `head` (RFC 9112 section 9.3)."""
        if self.draining or self.retiring or head.flags & H1_CLOSE:
            return False
        return head.minor != 0 or head.flags & H1_KEEP_ALIVE

    cdef int answered(self, bint keep_alive) except -1:
        """The response of the current exchange is complete; the connection decides what follows."""
        raise NotImplementedError

    @property
    def peer(self):
        """The client's address, for the log."""
        return "client" if self.client is None else f"{self.client[0]}:{self.client[1]}"

    # ---- to below --------------------------------------------------------------------------

    def write(self, data):
        """Send `data`, together with what else is sent in this turn."""
        if self.is_lost or not data:
            return
        self.written += len(data)
        self.sink.write(data)
        if not self.processing:
            self.sink.flush()

    def flush(self):
        """Let go what was collected."""
        if not self.is_lost:
            self.sink.flush()

    @property
    def flowing(self):
        """Whether there is nothing that `drain` would wait for or raise."""
        return not self.paused and not self.is_lost

    async def drain(self):
        """Wait until the peer has caught up. Raises `ClientDisconnected` when it left."""
        while self.paused and not self.is_lost:
            self.resumed = self.loop.create_future()
            try:
                await self.resumed
            finally:
                self.resumed = None
        if self.is_lost:
            raise ClientDisconnected("the client left before the end of the response")

    async def send_file(self, file, offset, size):
        """Let the kernel send part of a file. False: it cannot, and nothing of it was sent. When
        this fails the connection is aborted: nothing that waits to be sent names the file after."""
        cdef Sink sink = self.sink
        cdef int how = FILE_BUSY
        cdef bint sent = True
        sender = sink.file_sender()
        try:
            if sender is not None and not self.is_lost:
                sent = await sender(file, offset, size)
                how = FILE_SENT
            while how == FILE_BUSY and not self.is_lost:
                how = sink.send_file(file, offset, size)
                if how == FILE_CANNOT:
                    return False
                while how != FILE_SENT and sink.backlog() and not self.is_lost:
                    self.resumed = self.loop.create_future()
                    await self.resumed
                if self.file_error is not None:
                    raise self.file_error
        except BaseException as error:
            self.abort_now()
            if isinstance(error, EOFError):
                raise FileShortened(offset) from None
            if not isinstance(error, ConnectionError):
                raise
        finally:
            self.resumed = None
        if self.is_lost or self.closing:
            raise ClientDisconnected("the client left before the end of the response")
        if sent:
            self.written += size
        return sent

    def close(self):
        """End the connection after what was written."""
        self.stop_cleanly()

    cdef int stop_cleanly(self) except -1:
        """End the connection after what was written; read on when the peer is still sending."""
        return self.stop(False)

    cdef int stop(self, bint linger) except -1:
        if not self.closing:
            self.closing = True
            self.read_until = self.handler_until = INFINITY
            self.buffer.clear()
            self.sink.flush()
            self.sink.close(linger)
            self.watch_backlog()
        return 0

    def abort(self):
        """End the connection now, so that the peer does not take it for the end of a message."""
        self.abort_now()

    cdef int abort_now(self) except -1:
        self.closing = True
        self.read_until = self.handler_until = INFINITY
        self.buffer.clear()
        return self.sink.abort()

    cdef int end_unanswered(self) except -1:
        """A request will have no response."""
        return self.abort_now()

    def close_broken(self):
        """End the connection after what was written, in the middle of a message."""
        self.closing = True
        self.sink.flush()
        self.sink.close(False)
        self.watch_backlog()

    # ---- backpressure ----------------------------------------------------------------------

    cdef int pause_writing(self) except -1:
        """The peer takes less than is sent: producers wait, and no further request begins."""
        self.paused = True
        if self.codec is not None:
            self.call_codec(self.codec.pause_writing)
        return self.watch_backlog()

    cdef int wake(self) except -1:
        if self.resumed is not None and not self.resumed.done():
            self.resumed.set_result(None)
        return 0

    # ---- another codec -----------------------------------------------------------------------

    cdef int call_codec(self, object method) except -1:
        """Call a method of the codec. The caller (the loop, a server that stops) goes on with
        the other connections, whatever it raises."""
        try:
            method()
        except BaseException as error:
            self.codec_failed(error)
        return 0

    cdef int codec_failed(self, object error) except -1:
        """The codec raised `error`: a line in the log, and the connection ends with a reset."""
        if not self.is_lost:
            self.abort_now()
        if from_signal(error):
            raise error
        log.error("%s: the codec failed", self.peer, exc_info=error)
        return 0

    # ---- time ------------------------------------------------------------------------------

    @property
    def deadlines(self):
        """Itself: what the shared modules tell of deadlines is kept here."""
        return self

    def expect(self, phase, seconds):
        """The peer has so many seconds for what `phase` names."""
        self.expect_in(PHASES[phase], seconds)

    def expect_within(self, seconds):
        """Of a codec: see `codec.Output`."""
        self.expect_in(NOTHING, seconds)

    cdef int expect_in(self, int phase, double seconds) except -1:
        cdef double now
        self.phase = phase
        if self.wheel is not None:
            now = self.now()
            self.read_until = now + seconds
            # What was answered until now may lie here, too.
            if seconds > self.look_within:
                seconds = self.look_within
            if now + seconds < self.due:
                self.wheel.place(self, now + seconds)
        return 0

    cdef double now(self) except -1:
        """The time of this turn, on the loop's clock."""
        return self.clock[0] if self.clock != NULL else self.loop.time()

    cdef int handler_within(self, double seconds) except -1:
        """The handler has so many seconds."""
        if self.wheel is not None:
            self.handler_until = self.loop.time() + seconds
            if self.handler_until < self.due:
                self.wheel.place(self, self.handler_until)
        return 0

    cdef int ask_within(self, double seconds) except -1:
        """The peer is to be asked whether it is still there, so many seconds from now."""
        self.ask_at = self.loop.time() + seconds
        if self.ask_at < self.due:
            self.wheel.place(self, self.ask_at)
        return 0

    cdef int watch_backlog(self) except -1:
        """Something was written, or may be, that the peer has to take in time."""
        cdef double soon
        if self.wheel is not None and not self.is_lost:
            soon = self.now() + self.look_within
            if soon < self.due:
                self.wheel.place(self, soon)
        return 0

    cdef bint is_busy(self) noexcept:
        """Whether something may be written without `expect_within` being called again."""
        return self.closing or self.paused

    def check_deadlines(self, double now):
        """For the wheel: judge what is late. Gives the time of the next look."""
        return INFINITY if self.is_lost else self.check(now)

    cdef double check(self, double now) except -1:
        cdef double again
        cdef Py_ssize_t backlog
        cdef long long progress
        if now >= self.handler_until:
            self.handler_until = INFINITY
            self.handler_is_late()
        if now >= self.ask_at:
            self.ask_at = INFINITY
            self.ask_peer()
        if now >= self.read_until:
            if self.sink.unread():
                # It is the loop that is late. What came in time is read before it is judged.
                self.read_until = now + AGAIN
            else:
                self.read_until = INFINITY
                self.peer_is_late()
        if self.is_lost:
            return INFINITY
        backlog = self.sink.backlog()
        progress = self.sink.progress() if backlog else 0
        if backlog == 0 or progress != self.progress:
            self.progress = progress
            self.last_progress = now
        elif now - self.last_progress >= self.limits.write_timeout:
            log.warning("%s: read nothing of %d bytes in time; reset", self.peer, backlog)
            self.abort_now()
        again = min(self.read_until, self.handler_until, self.ask_at)
        if backlog:
            again = min(again, now + self.look_within,
                        self.last_progress + self.limits.write_timeout)
        elif self.is_busy():
            again = min(again, now + self.look_within)
        return again

    cdef int ask_peer(self) except -1:
        """See `ask_within`."""
        return 0

    cdef int handler_is_late(self) except -1:
        """The handler had its time."""
        return 0

    cdef int peer_is_late(self) except -1:
        """The peer did not send in time what was expected of it."""
        return self.stop_cleanly()
