# Who is told of every exchange: see _observer.pyx.
from ember.protocol.message._request cimport Request


cdef enum:
    SHORT = 28              # "255.255.255.255:65535" is 21


cdef class Peer:
    # Who is at the other end of a connection that is observed; one for each.
    cdef object client                      # (host, port), or None
    # What an access log calls it, once it was called: beside the rest of this, as it is cold memory
    # for each of many connections; only what is longer (IPv6) is elsewhere.
    cdef bint called
    cdef int size
    cdef char text[SHORT]
    cdef bytes long_text


cdef class Observer:
    # The loop that the connections are on from now on.
    cdef int attach(self, object loop) except -1
    cdef int opened(self) except -1                 # a connection
    cdef int closed(self) except -1
    # A request begins; gives the time, seconds of CLOCK_MONOTONIC.
    cdef double begin(self) except? -1
    # It is over: answered, or `aborted` in the middle. `sent` are all bytes of the response. Never
    # raises.
    cdef int done(self, Request request, Peer peer, int status, Py_ssize_t sent, double began,
                  bint aborted) except -1
    # One was refused before there was a request. `identity`: its id, or empty. Never raises.
    cdef int refused(self, Peer peer, int status, Py_ssize_t sent, str identity) except -1

cdef Peer make_peer(object client)
cdef double clock() noexcept
