# cython: language_level=3
# The awaitable that follows a plan: flow.pyx, and flow.py without a compiler.
from cpython.object cimport PyObject


cdef class Plan:
    cpdef bint advance(self, Flow flow, object value, object error) except -1


cdef class Flow:
    cdef public Plan plan
    cdef public object request
    cdef public list values
    cdef public object response
    cdef public object inner
    cdef public int at
    cdef public int phase
    cdef bint over

    cdef int resume(self, PyObject *value, PyObject **out) except -1
    cdef bint caught(self) except -1
    cdef int finish(self, PyObject **out) except -1
