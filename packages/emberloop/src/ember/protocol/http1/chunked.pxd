# cython: language_level=3
# Request bodies off the wire: the types with which chunked.py is compiled.
cimport cython

cdef int _SIZE, _DATA, _DATA_END, _TRAILER
cdef long long FREE_PER_CHUNK, FREE_PER_BYTE


@cython.final
cdef class LengthDecoder:
    cdef public long long remaining
    cdef public bint done

    @cython.locals(size=cython.Py_ssize_t, data=bytes)
    cpdef bytes read(self, bytearray buffer, Py_ssize_t most)


@cython.final
cdef class ChunkedDecoder:
    cdef object _limits, _fault
    cdef long long _overhead, _remaining
    cdef Py_ssize_t _scanned, _trailers, _trailer_size
    cdef int _state
    cdef public bint done

    @cython.locals(out=bytearray, position=cython.Py_ssize_t, size=cython.Py_ssize_t)
    cpdef bytes read(self, bytearray buffer, Py_ssize_t most)

    @cython.locals(
        end=cython.Py_ssize_t, at=cython.Py_ssize_t, size=cython.longlong, digit=cython.uchar
    )
    cdef Py_ssize_t _plain_line(self, bytearray buffer, Py_ssize_t start) except -1

    @cython.locals(at=cython.Py_ssize_t)
    cdef bytes _line(self, bytearray buffer, Py_ssize_t start)

    cdef int _check_size(self, Py_ssize_t size) except -1

    cdef int _take_line(self, bytes line) except -1
