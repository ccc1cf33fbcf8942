# How a peer leaves, and how much of a turn one connection may take: see _ending.pyx.
from ember.protocol.server._output cimport HTTPOutput
from ember.protocol.server._exchange cimport Exchange


cdef class EndingOutput(HTTPOutput):
    cdef Exchange exchange
    cdef readonly Py_ssize_t requests
    cdef bint hung_up                   # the peer's FIN was seen; bytes before it may be unread
    cdef bint yielded                   # has had its share of this turn; goes on in the next one
    cdef double working_since           # seconds of the monotonic clock
    cdef Py_ssize_t asked_for           # the request whose client will be asked
    cdef Py_ssize_t asked_at            # what was sent then

    cdef int process(self) except -1
    cdef int eof(self) except -1
    cdef int hangup(self) except -1
    cdef int lost(self) except -1
    cdef int peer_ended(self) except -1
    cdef int leave(self, Exchange exchange) except -1
    cdef bint over_budget(self) except -1
