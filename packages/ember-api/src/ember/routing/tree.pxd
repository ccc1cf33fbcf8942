# cython: language_level=3
# The tree of routes: the types with which tree.py is compiled.
cimport cython

cdef int _STR, _INT, _CONVERTER, _MIXED


@cython.final
cdef class Edge:
    cdef public int kind
    cdef public str key
    cdef public object order
    cdef public Node child
    cdef public object converter
    cdef public object mixed

    @cython.locals(
        kind=cython.int, number=cython.longlong, index=cython.Py_ssize_t,
        negative=cython.bint, letter=cython.Py_UCS4,
    )
    cpdef bint consume(self, str path, Py_ssize_t start, Py_ssize_t stop, list values) except -1


@cython.final
cdef class Node:
    cdef public dict static
    cdef public list edges
    cdef public Node tail
    cdef public object endpoint

    @cython.locals(
        end=cython.Py_ssize_t, stop=cython.Py_ssize_t, count=cython.Py_ssize_t,
        child=Node, edge=Edge,
    )
    cpdef object find(self, str path, Py_ssize_t start, list values)

    @cython.locals(edge=Edge)
    cpdef object last(self, str path, Py_ssize_t start, list values)

    @cython.locals(end=cython.Py_ssize_t, count=cython.Py_ssize_t, tail=Node)
    cpdef object find_tail(self, str path, Py_ssize_t start, list values)
