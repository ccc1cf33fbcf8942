# cython: language_level=3
# Responses as a client reads them: the types with which responses.py is compiled.
cimport cython


cdef class _End:
    pass


cdef class ResponseHead:
    cdef public bint chunked, keep_alive, upgraded
    cdef public int minor, status
    cdef public object length
    cdef public list fields
    cdef public str method, reason

    @cython.locals(other=ResponseHead)
    cpdef ResponseHead copy(self)


cdef class ResponseParser:
    cdef object _limits, _methods, _decoder
    cdef bytearray _buffer
    cdef int _state, _interim
    cdef Py_ssize_t _left, _scanned
    cdef bint _keep_alive
    cdef ResponseHead _head, _last_head
    cdef bytes _last
    cdef public object broken

    cpdef void request_sent(self, str method)

    @cython.locals(events=list)
    cpdef list feed(self, data)

    @cython.locals(decoder=object, piece=bytes, size=cython.Py_ssize_t, state=cython.int)
    cdef bint _next(self, list events) except -1

    @cython.locals(at=cython.Py_ssize_t, begin=cython.Py_ssize_t, line=bytes, text=bytes,
                   head=ResponseHead)
    cdef bint _line(self, list events) except -1

    @cython.locals(head=ResponseHead)
    cdef bint _same_again(self, list events) except -1

    cdef ResponseHead _status(self, bytes line)

    @cython.locals(lengths=list, status=cython.int, method=str)
    cdef object _complete(self, ResponseHead head, list events)

    cdef object _body_follows(self, ResponseHead head, list events)

    @cython.locals(
        codings=list, lengths=list, options=list, size=cython.Py_ssize_t, name=bytes, value=bytes,
        lower=bytes,
    )
    cdef list _framing(self, ResponseHead head)

    cdef object _over(self, list events)
