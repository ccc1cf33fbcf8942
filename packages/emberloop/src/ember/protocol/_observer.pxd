# Who is told of every exchange: see _observer.pyx.
from ember.protocol._request cimport Request


cdef class Observer:
    # The loop that the connections are on from now on.
    cdef int attach(self, object loop) except -1
    cdef int opened(self) except -1                 # a connection
    cdef int closed(self) except -1
    # A request begins; gives the time, seconds of CLOCK_MONOTONIC.
    cdef double begin(self) except? -1
    # It is over: answered, or `aborted` in the middle. `sent` are all bytes of the answer. Never
    # raises.
    cdef int done(self, Request request, object client, int status, Py_ssize_t sent, double began,
                  bint aborted) except -1
    # One was refused before there was a request. `identity`: its id, or empty. Never raises.
    cdef int refused(self, object client, int status, Py_ssize_t sent, str identity) except -1

cdef double clock() noexcept
