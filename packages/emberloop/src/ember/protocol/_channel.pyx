"""`Channel`: what one connection sends, how it ends, and how long its peer may take.

It knows no request. `Exchange` answers through it, `Connection` adds what is received.
"""

import contextvars
import logging
from weakref import WeakKeyDictionary

from libc.math cimport INFINITY

from ember.protocol._observer cimport make_peer
from ember.protocol._sink cimport FILE_BUSY, FILE_CANNOT, FILE_SENT

from ember.protocol._request cimport H1_CLOSE, H1_KEEP_ALIVE

from ember.exceptions import ClientDisconnected
from ember.protocol.openfile import FileShortened

log = logging.getLogger("ember.protocol")

cdef double COARSE = 0.25       # seconds between two sweeps, at most
cdef double FINE = 0.01
cdef dict PHASES = {"head": HEAD, "body": BODY, "idle": IDLE, "": NOTHING}


# ---- deadlines ------------------------------------------------------------------------------

_sweeps = WeakKeyDictionary()


cdef class Sweep:
    """Looks at every connection of one loop now and then. Sleeps while there is none."""

    def __init__(self, loop):
        self.loop = loop
        self.channels = set()
        self.interval = COARSE
        self.now = loop.time()

    cdef int add(self, Channel channel) except -1:
        if self.timer is None:
            self.now = self.loop.time()
            self.schedule()
        self.channels.add(channel)
        return 0

    cdef int discard(self, Channel channel) except -1:
        self.channels.discard(channel)
        if not self.channels and self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.interval = COARSE
        return 0

    cdef int want(self, double seconds) except -1:
        """A limit of so many seconds is to be kept."""
        cdef double interval = max(FINE, seconds / 4)
        if interval < self.interval:
            self.interval = interval
            if self.timer is not None:
                self.timer.cancel()
                self.now = self.loop.time()
                self.schedule()
        return 0

    cdef int schedule(self) except -1:
        self.timer = self.loop.call_later(self.interval, self._run)
        return 0

    def _run(self):
        self.now = self.loop.time()
        self.schedule()
        for channel in tuple(self.channels):
            (<Channel>channel).check(self.now)


cdef Sweep sweep_of(object loop):
    sweep = _sweeps.get(loop)
    if sweep is None:
        sweep = _sweeps[loop] = Sweep(loop)
    return sweep


# ---- the channel ----------------------------------------------------------------------------

cdef class Channel:
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
        self.read_until = self.handler_until = self.moved_at = INFINITY
        self.phase = HEAD

    cdef int attach(self, object loop) except -1:
        """Deadlines hold, and handlers may wait, from now on."""
        limits = self.limits
        self.loop = loop
        if self.observer is not None:
            self.observer.attach(loop)
            self.observer.opened()
        self.sweep = sweep_of(loop)
        self.sweep.add(self)
        self.sweep.want(min(limits.header_timeout, limits.body_timeout, limits.keep_alive_timeout,
                            limits.write_timeout))
        self.moved_at = self.sweep.now
        self.expect_within(HEAD, limits.header_timeout)
        return 0

    cdef bint persists(self, h1_head *head) noexcept:
        """Whether the connection goes on after the answer to `head` (RFC 9112 section 9.3)."""
        if self.draining or self.retiring or head.flags & H1_CLOSE:
            return False
        return head.minor != 0 or head.flags & H1_KEEP_ALIVE

    cdef int answered(self, bint keep_alive) except -1:
        """The answer of the current exchange is complete; the connection decides what follows."""
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
            raise ClientDisconnected("the client left before the end of the answer")

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
            raise ClientDisconnected("the client left before the end of the answer")
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
        return 0

    def abort(self):
        """End the connection now, so that the peer does not take it for the end of a message."""
        self.abort_now()

    cdef int abort_now(self) except -1:
        self.closing = True
        self.read_until = self.handler_until = INFINITY
        self.buffer.clear()
        return self.sink.abort()

    def close_broken(self):
        """End the connection after what was written, in the middle of a message."""
        self.closing = True
        self.sink.flush()
        self.sink.close(False)

    # ---- backpressure ----------------------------------------------------------------------

    cdef int pause_writing(self) except -1:
        """The peer takes less than is sent: producers wait, and no further request begins."""
        self.paused = True
        return 0

    cdef int wake(self) except -1:
        if self.resumed is not None and not self.resumed.done():
            self.resumed.set_result(None)
        return 0

    # ---- time ------------------------------------------------------------------------------

    @property
    def deadlines(self):
        """Itself: what the shared modules tell of deadlines is kept here."""
        return self

    def expect(self, phase, seconds):
        """The peer has so many seconds for what `phase` names."""
        self.expect_within(PHASES[phase], seconds)

    cdef int expect_within(self, int phase, double seconds) except -1:
        self.phase = phase
        if self.sweep is not None:
            # The sweep's clock is late by up to one interval: never close too early.
            self.read_until = self.sweep.now + self.sweep.interval + seconds
        return 0

    cdef int check(self, double now) except -1:
        """Called by the sweep."""
        cdef Py_ssize_t backlog
        cdef long long progress
        if now >= self.handler_until:
            self.handler_until = INFINITY
            self.handler_is_late()
        if now >= self.read_until:
            self.read_until = INFINITY
            self.peer_is_late()
        backlog = self.sink.backlog()
        progress = self.sink.progress() if backlog else 0
        if backlog == 0 or progress != self.progress:
            self.progress = progress
            self.moved_at = now
        elif now - self.moved_at >= self.limits.write_timeout:
            log.warning("%s: took nothing of %d bytes in time; reset", self.peer, backlog)
            self.abort_now()
        return 0

    cdef int handler_is_late(self) except -1:
        """The handler had its time."""
        return 0

    cdef int peer_is_late(self) except -1:
        """The peer did not send in time what was expected of it."""
        return self.stop_cleanly()
