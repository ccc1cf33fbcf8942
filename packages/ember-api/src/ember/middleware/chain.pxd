# cython: language_level=3
# Middlewares and hooks around a handler: the types with which chain.py is compiled.
cimport cython

from ember.routing.dispatch cimport Endpoint
from ember.middleware.flow cimport Flow, Plan

cdef int _START, _BEFORE, _INSIDE, _AFTER, _ERROR
cdef object _coroutine


cdef class Chain(Plan):
    cdef public tuple befores
    cdef public tuple before_owners
    cdef public tuple afters
    cdef public tuple after_owners
    cdef public list unwind_from
    cdef public str owner
    cdef public object on_error
    cdef public object wrapper
    cdef public object call_next
    cdef public Endpoint endpoint
    cdef public object call
    cdef public bint bare
    cdef public bint last

    @cython.locals(at=cython.int, flow=Flow)
    cpdef object enter(self, object request, list values)

    @cython.locals(flow=Flow)
    cdef object early(self, object request, list values, int at, object value)

    @cython.locals(flow=Flow)
    cpdef Flow start(self, object request)

    @cython.locals(endpoint=Endpoint, names=tuple, at=cython.Py_ssize_t)
    cdef object inside(self, object request, list values)

    @cython.locals(phase=cython.int)
    cpdef bint advance(self, Flow flow, object value, object error) except -1

    @cython.locals(befores=tuple)
    cdef object go_in(self, Flow flow, Py_ssize_t at)

    cdef bint waits(self, Flow flow, object value) except -1

    @cython.locals(phase=cython.int)
    cdef bint resolve(self, Flow flow, object value) except -1

    cdef bint failed(self, Flow flow, object error) except -1

    cdef object unwind(self, Flow flow)

    @cython.locals(afters=tuple, at=cython.int)
    cdef bint go_out(self, Flow flow) except -1


cdef object respond(object value, str owner)


cdef class Chained(Endpoint):
    cdef public Chain chain
