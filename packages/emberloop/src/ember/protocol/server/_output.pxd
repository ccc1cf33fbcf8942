# What one connection sends, how it ends, how long the peer may take: see _output.pyx.
from ember.protocol.telemetry._observer cimport Observer, Peer
from ember.protocol.message._request cimport h1_head
from ember.protocol.server._sink cimport Sink

cdef enum:
    # what is awaited from the peer
    NOTHING = 0
    HEAD = 1
    BODY = 2
    IDLE = 3


cdef class HTTPOutput:
    cdef readonly object app, limits, client, scheme, loop
    cdef public object tls                  # TLSInfo, once the handshake is done
    cdef public object context              # what every request's context is a copy of
    cdef public bytearray buffer            # received and not yet used
    cdef Sink sink
    cdef object successor                   # makes the codec that takes over, once it may
    cdef object codec                       # what speaks here instead of HTTP/1.1
    cdef object dispatch, resumed
    cdef object file_error                  # why the file that is being sent has no rest
    cdef Observer observer                  # told of every exchange; None: nobody is
    cdef Peer peer_told                     # what it is told of the other end
    cdef Py_ssize_t written
    cdef public bint closing, is_lost, ended, draining, retiring
    cdef readonly bint strict
    cdef bint processing, paused
    cdef bint counts                        # as a connection, for the observer
    # deadlines: seconds of the loop's clock, never is infinity
    cdef double read_until, handler_until, ask_at, last_progress
    cdef double look_within                 # how long a backlog may stand unlooked at, seconds
    cdef public double slot, due            # when the wheel looks at this; the wheel's to change
    cdef const double *clock                # the time of the loop's turn; NULL: ask the loop
    cdef long long progress                 # of the peer, at the last look
    cdef int phase
    cdef object wheel

    cdef int attach(self, object loop, bint counts=*) except -1
    cdef int pause_writing(self) except -1
    cdef int wake(self) except -1
    cdef int call_codec(self, object method) except -1
    cdef int codec_failed(self, object error) except -1
    cdef int stop_cleanly(self) except -1
    cdef bint persists(self, h1_head *head) noexcept
    cdef int answered(self, bint keep_alive) except -1
    cdef int stop(self, bint linger) except -1
    cdef int abort_now(self) except -1
    cdef int end_unanswered(self) except -1
    cdef double now(self) except -1
    cdef int expect_in(self, int phase, double seconds) except -1
    cdef int handler_within(self, double seconds) except -1
    cdef int ask_within(self, double seconds) except -1
    cdef int watch_backlog(self) except -1
    cdef bint is_busy(self) noexcept
    cdef double check(self, double now) except -1
    cdef int handler_is_late(self) except -1
    cdef int ask_peer(self) except -1
    cdef int peer_is_late(self) except -1
