# An awaitable whose result is there already: what `body()` and `json()` give once all has arrived.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    void PyErr_SetObject(PyObject *kind, PyObject *value) except *
    PyObject *PyExc_StopIteration


@cython.freelist(16)
@cython.final
cdef class Ready:
    """An awaitable whose result is there: awaiting it never waits and makes no coroutine."""
    cdef object value

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        value = self.value
        self.value = None
        PyErr_SetObject(PyExc_StopIteration, <PyObject *>value)


cdef object ready(object value):
    cdef Ready result = Ready.__new__(Ready)
    # A tuple or an exception as such would be taken apart on its way out.
    result.value = StopIteration(value) if isinstance(value, (tuple, BaseException)) else value
    return result
