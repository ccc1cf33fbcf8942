# cython: language_level=3
# What the state machine of TLS needs of the world around it: the types of tls_adapter.py.


cdef class TLSAdapter:
    cpdef connection(self)
    cpdef send(self, bytes data)
    cpdef bint takes_no_more(self) except? -1
    cpdef pause_below(self)
    cpdef resume_below(self)
    cpdef close_below(self, bint linger)
    cpdef go_on_later(self)
    cpdef double turn_began(self) except? -1
    cpdef bint had_its_share(self) except? -1
    cpdef deliver(self, Py_ssize_t size)
    cpdef tell_established(self)
    cpdef tell_eof(self)
    cpdef tell_hangup(self)
    cpdef tell_writable(self)
