# Lines of the access log, composed where they wait to be written: see _accesslog.pyx.
from libc.stdint cimport uint32_t

from ember.protocol.telemetry._observer cimport Peer
from ember.protocol.message._request cimport Request

cdef enum:
    MOST_OPEN = 1024


cdef class AccessLog:
    cdef readonly object file
    cdef public object series               # where dropped lines are counted, or None
    cdef readonly int worker
    cdef public bint forwarded              # the client is what trusted proxies say
    cdef object loop, context, timer
    cdef char *buffer
    cdef Py_ssize_t used
    cdef bint posted
    cdef bytes tail
    cdef double offset                      # of the wall clock to the monotonic one
    cdef char stamp[32]                     # the time of the last line
    cdef double stamp_of
    cdef long long second_of
    # Lines of this turn, begun with it, whose duration is known when it ends.
    cdef uint32_t open_lines[MOST_OPEN]
    cdef int opened
    cdef double turn_began, written_at
    cdef Py_ssize_t dropped

    cdef int attach(self, object loop) except -1
    # `ended` < 0: when the turn ends that began at `began`. `identity`: of a refused request, which
    # is None.
    cdef int line(self, Request request, Peer peer, bytes route, int status, Py_ssize_t sent,
                  double began, double ended, bint aborted, str identity) except -1
    cdef char *put_time(self, char *to, double began) noexcept
    cdef void close_lines(self, double ended) noexcept
    cdef int post(self) except -1
    cdef int flush_now(self) except -1
    cdef int look(self) except -1
