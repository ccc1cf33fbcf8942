# cython: language_level=3, freethreading_compatible=False
"""`Flow` and `Plan` of the compiled build; `flow.py` explains them.

A Flow awaits with PyIter_Send and implements `am_send` itself, so that a result needs no
StopIteration.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF

cdef extern from *:
    """
    static int ember_caught(void) { return -1; }

    static void ember_stop(PyObject *value) {
        PyObject *stop;
        /* PyErr_SetObject would unpack a tuple, and raise an exception instance itself. */
        if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
            PyErr_SetObject(PyExc_StopIteration, value);
            return;
        }
        stop = PyObject_CallOneArg(PyExc_StopIteration, value);
        if (stop != NULL) {
            PyErr_SetObject(PyExc_StopIteration, stop);
            Py_DECREF(stop);
        }
    }

    static void ember_set_am_send(PyObject *type, void *function) {
        ((PyTypeObject *)type)->tp_as_async->am_send = (sendfunc)function;
        PyType_Modified((PyTypeObject *)type);
    }
    """
    # Returns -1. A C function has set the exception: so Cython raises it.
    int ember_caught() except -1
    void ember_stop(object value) noexcept
    void ember_set_am_send(object type, void *function) noexcept

cdef extern from "Python.h":
    # PYGEN_RETURN 0, PYGEN_ERROR -1 (with an exception set), PYGEN_NEXT 1
    int PyIter_Send(PyObject *iterator, PyObject *argument, PyObject **result) noexcept


cdef class Plan:
    """Chooses the next step of a Flow. One plan serves any number of flows."""

    cpdef bint advance(self, Flow flow, object value, object error) except -1:
        raise NotImplementedError


@cython.freelist(64)
cdef class Flow:
    """A coroutine without a frame."""

    cdef int resume(self, PyObject *value, PyObject **out) except -1:
        """One step: 1 and what is yielded, or 0 and the result."""
        cdef int status
        cdef bint more
        if self.over:
            raise RuntimeError("cannot reuse an awaitable that has ended or is running")
        self.over = True
        more = self.inner is not None or self.plan.advance(self, None, None)
        while more:
            out[0] = NULL
            status = PyIter_Send(<PyObject *>self.inner, value, out)
            if status == 1:
                self.over = False
                return 1
            if status == 0:
                outcome = <object>out[0]
                Py_XDECREF(out[0])
                self.inner = None
                more = self.plan.advance(self, outcome, None)
            else:
                more = self.caught()
            value = <PyObject *>None
        return self.finish(out)

    cdef bint caught(self) except -1:
        """Handle the exception that the awaitable raised."""
        try:
            ember_caught()
        except Exception as error:
            self.inner = None
            return self.plan.advance(self, None, error)

    cdef int finish(self, PyObject **out) except -1:
        Py_INCREF(self.response)
        out[0] = <PyObject *>self.response
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef PyObject *out = NULL
        cdef int status = self.resume(<PyObject *>None, &out)
        result = <object>out
        Py_XDECREF(out)
        if status == 1:
            return result
        ember_stop(result)
        raise StopIteration     # in `__next__` this only returns

    def send(self, value):
        """Continue. Returns what is yielded; raises StopIteration with the result."""
        cdef PyObject *out = NULL
        cdef int status = self.resume(<PyObject *>value, &out)
        result = <object>out
        Py_XDECREF(out)
        if status == 1:
            return result
        raise StopIteration(result)

    def throw(self, kind, value=None, traceback=None):
        """Raise an exception in the awaitable, as a coroutine does."""
        cdef bint more
        error = normal(kind, value, traceback)
        if self.over:
            raise RuntimeError("cannot reuse an awaitable that has ended or is running")
        self.over = True
        inner = self.inner
        if inner is None:
            raise error
        try:
            if not hasattr(inner, "throw"):
                raise error
            yielded = inner.throw(error)
        except StopIteration as stop:
            self.inner = None
            more = self.plan.advance(self, stop.value, None)
        except Exception as failure:
            self.inner = None
            more = self.plan.advance(self, None, failure)
        else:
            self.over = False
            return yielded
        if not more:
            raise StopIteration(self.response)
        self.over = False
        return self.send(None)

    def close(self):
        """End the flow: close the awaitable and run nothing else."""
        if self.over:
            return
        self.over = True
        close = getattr(self.inner, "close", None)
        self.inner = None
        if close is not None:
            close()

    # The attributes of a coroutine that asyncio shows.

    @property
    def cr_await(self):
        """The iterator that is awaited now."""
        return self.inner

    @property
    def cr_frame(self):
        """The frame of the iterator that is awaited now; None if it has none."""
        return getattr(self.inner, "cr_frame", None)

    @property
    def cr_running(self):
        """Whether the flow is running, or has ended."""
        return self.over


def normal(kind, value, traceback):
    """The exception that the arguments of `throw` mean, also in the old form with three
    arguments."""
    if isinstance(value, BaseException):
        error = value
    elif isinstance(kind, type):
        error = kind() if value is None else kind(value)
    else:
        error = kind
    return error if traceback is None else error.with_traceback(traceback)


# PySendResult: -1 an error, 0 returned, 1 yielded.
cdef int send_flow(PyObject *flow, PyObject *value, PyObject **out) except -1:
    return (<Flow>flow).resume(value, out)


ember_set_am_send(Flow, <void *>&send_flow)
