# cython: language_level=3
# The state machine of TLS: the types with which tls_machine.py is compiled, and what _tls.pyx sees.
cimport cython

from ember.protocol.server.tls_adapter cimport TLSAdapter
from ember.protocol.server.tls_records cimport RecordCounter

cdef Py_ssize_t _RECORD, _BATCH, _MANY
cdef int _HANDSHAKE, _OPENED_AT_ONCE
cdef double _SHARE


cdef class TLSMachine(TLSAdapter):
    cdef object incoming, outgoing, tls
    cdef readonly object ssl_object
    cdef public object plain
    cdef object queue
    cdef readonly Py_ssize_t waiting
    cdef bint begun, told, lingers, failed, held, fin_waits
    cdef readonly bint established, ending, finished, in_clear, said, closed, unwanted, postponed
    cdef public bint knows_turns
    cdef RecordCounter records
    cdef Py_ssize_t ready
    cdef double opening_since

    # inputs
    cpdef start(self)
    cpdef received(self, bytes data)
    cpdef peer_fin(self)
    cpdef go_on(self)
    cpdef lost(self)
    cpdef seal(self, bytes data)
    cpdef take_more(self)
    cpdef pause_input(self)
    cpdef resume_input(self)
    cpdef end(self, bint linger)
    cpdef abort(self)

    # the machine's own
    @cython.locals(opened=cython.int, size=cython.Py_ssize_t)
    cdef _open(self)

    @cython.locals(now=cython.double)
    cdef bint _over_time(self) except -1

    cdef bint _shake_hands(self) except -1
    cdef _refuse_clear(self, bytes data)
    cdef _broken(self, error)

    @cython.locals(at=cython.Py_ssize_t, sealed=cython.Py_ssize_t, size=cython.Py_ssize_t,
                   taken=cython.Py_ssize_t)
    cdef _seal_view(self, view)

    @cython.locals(sealed=bytes)
    cdef _ship(self)

    cdef _peer_ended(self)
    cdef _drop_queue(self)
    cdef _say_goodbye(self)
    cdef _close(self)
