# cython: language_level=3
# The dispatcher and its endpoints: the types with which dispatch.py is compiled.
cimport cython

from ember.routing.tree cimport Node

cdef int _NOTHING, _REQUEST, _VALUE, _REQUEST_VALUE, _VALUE_REQUEST, _ANY, _BOUND, _VALUES
cdef list _NO_VALUES


cdef class Endpoint:
    cdef public object route
    cdef public object handler
    cdef public object app
    cdef public str owner
    cdef public list slots
    cdef public tuple keywords
    cdef public tuple names
    cdef public object wrapper
    cdef public object binding
    cdef public object limits
    cdef public bint fills
    cdef public bint has_observer
    cdef public int kind

    @cython.locals(kind=cython.int)
    cpdef object call(self, object request, list values)

    @cython.locals(kind=cython.int)
    cpdef object run(self, object request, list values)

    @cython.locals(params=dict, index=cython.Py_ssize_t)
    cpdef object fill(self, object request, list values)

    @cython.locals(arguments=list, keywords=dict, first=cython.Py_ssize_t)
    cpdef object call_any(self, object request, list values)


@cython.final
cdef class Lookup:
    cdef public dict exact
    cdef public dict prefixes
    cdef public dict trees


@cython.final
cdef class Dispatcher:
    cdef public bint stale
    cdef public Lookup general
    cdef public dict hosts
    cdef dict _spellings
    cdef object _refresh
    cdef object _missed
    cdef object _owner

    @cython.locals(
        key=str, method=str, endpoint=Endpoint, node=Node, values=list, slash=cython.Py_ssize_t,
        routes=Lookup, found=Lookup,
    )
    cpdef object dispatch(self, object request)

    cpdef Lookup at_host(self, str host)

    cpdef object into_response(self, object request, object value)
