# A coroutine whose result is there already: what `body()` and `json()` give once all has arrived.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    void PyErr_SetObject(PyObject *kind, PyObject *value) except *
    PyObject *PyExc_StopIteration


@cython.freelist(16)
@cython.final
cdef class Ready:
    """A coroutine that never waits: asyncio, which looks for these methods, takes it for one. Its
    errors come at the await, and it can be awaited once."""
    cdef bytes content      # None: it was awaited, or closed
    cdef bint as_json

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef object content = self.content
        if content is None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.content = None
        if self.as_json:
            content = decode_json(content)
        PyErr_SetObject(PyExc_StopIteration, <PyObject *>content)

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self.content = None
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        if traceback is not None:
            value = value.with_traceback(traceback)
        raise value

    def close(self):
        self.content = None


cdef object ready(bytes content, bint as_json):
    cdef Ready result = Ready.__new__(Ready)
    result.content = content
    result.as_json = as_json
    return result
