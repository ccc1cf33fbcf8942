# What one connection sends, how it ends, how long the peer may take: see _channel.pyx.
from ember.protocol._observer cimport Observer, Peer
from ember.protocol._request cimport h1_head
from ember.protocol._sink cimport Sink

cdef enum:
    # what is awaited from the peer
    NOTHING = 0
    HEAD = 1
    BODY = 2
    IDLE = 3


cdef class Channel:
    cdef readonly object app, limits, client, scheme, loop
    cdef public object tls                  # TLSInfo, once the handshake is done
    cdef public object context              # what every request's context is a copy of
    cdef public bytearray buffer            # received and not yet used
    cdef Sink sink
    cdef object dispatch, resumed
    cdef object file_error                  # why the file that is being sent has no rest
    cdef Observer observer                  # told of every exchange; None: nobody is
    cdef Peer peer_told                     # what it is told of the other end
    cdef Py_ssize_t written
    cdef public bint closing, is_lost, ended, draining, retiring
    cdef bint strict, processing, paused
    # deadlines: seconds of the loop's clock, never is infinity
    cdef double read_until, handler_until, moved_at
    cdef long long progress               # of the peer, at the last look
    cdef int phase
    cdef Sweep sweep

    cdef int attach(self, object loop) except -1
    cdef int pause_writing(self) except -1
    cdef int wake(self) except -1
    cdef int stop_cleanly(self) except -1
    cdef bint persists(self, h1_head *head) noexcept
    cdef int answered(self, bint keep_alive) except -1
    cdef int stop(self, bint linger) except -1
    cdef int abort_now(self) except -1
    cdef int expect_within(self, int phase, double seconds) except -1
    cdef int check(self, double now) except -1
    cdef int handler_is_late(self) except -1
    cdef int peer_is_late(self) except -1


cdef class Sweep:
    cdef object loop, timer, __weakref__
    cdef set channels
    cdef double interval
    cdef readonly double now                # the loop's clock at the last look, seconds
    cdef int add(self, Channel channel) except -1
    cdef int discard(self, Channel channel) except -1
    cdef int want(self, double seconds) except -1
    cdef int schedule(self) except -1
