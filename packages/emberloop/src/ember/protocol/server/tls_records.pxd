# cython: language_level=3
# Where the records of TLS end: the types with which tls_records.py is compiled.
cimport cython

cdef Py_ssize_t _RECORD_MAX


@cython.final
cdef class RecordCounter:
    cdef Py_ssize_t missing
    cdef bytes header

    @cython.locals(at=cython.Py_ssize_t, size=cython.Py_ssize_t, whole=cython.Py_ssize_t,
                   taken=cython.Py_ssize_t)
    cpdef Py_ssize_t count(self, bytes data) except -1
