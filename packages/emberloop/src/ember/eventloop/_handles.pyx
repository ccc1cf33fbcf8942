# cython: language_level=3
"""Handles and timers, lighter than the standard library's and alike to their users."""

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_DECREF

import asyncio.events
import asyncio.format_helpers

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1
    object PyObject_CallObject(object, object)
    void Py_SET_SIZE(object, Py_ssize_t)

cdef object _format_source = asyncio.format_helpers._format_callback_source


cdef class Runnable:
    cdef int run(self) except -1:
        raise NotImplementedError


@cython.freelist(256)
cdef class Handle:
    """As asyncio.Handle; `isinstance` holds."""

    @property
    def __class__(self):
        return asyncio.events.Handle

    cdef int run(self) except -1:
        cdef object callback = self._callback, args = self._args, context = self._context
        if self._cancelled:
            return 0
        try:
            PyContext_Enter(context)
            try:
                if args is None:
                    callback()
                else:
                    PyObject_CallObject(callback, args)
            finally:
                PyContext_Exit(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.report(callback, args, exc)
        return 0

    def report(self, callback, args, exc):
        context = {
            "message": f"Exception in callback {_format_source(callback, args or ())}",
            "exception": exc,
            "handle": self,
        }
        if self._source_traceback:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)

    def _run(self):
        self.run()

    def get_context(self):
        return self._context

    def cancelled(self):
        return self._cancelled

    def cancel(self):
        if self._cancelled:
            return
        self._cancelled = True
        if self._loop.get_debug():
            # Keeps what it was for, for the log of slow callbacks.
            self._repr = repr(self)
        self._callback = None
        self._args = None

    def _repr_info(self):
        info = [type(self).__name__]
        if self._cancelled:
            info.append("cancelled")
        if self._callback is not None:
            info.append(_format_source(self._callback, self._args or ()))
        if self._source_traceback:
            frame = self._source_traceback[len(self._source_traceback) - 1]
            info.append(f"created at {frame[0]}:{frame[1]}")
        return info

    def __repr__(self):
        if self._repr is not None:
            return self._repr
        return "<{}>".format(" ".join(self._repr_info()))


cdef class TimerHandle(Handle):
    """As asyncio.TimerHandle. A cancelled one leaves the heap at once."""

    @property
    def __class__(self):
        return asyncio.events.TimerHandle

    @property
    def _when(self):
        return self.deadline

    @property
    def _scheduled(self):
        return self.heap is not None

    def when(self):
        """The time it runs at, in the terms of loop.time() (seconds)."""
        return self.deadline

    def cancel(self):
        heap_remove(self)
        Handle.cancel(self)

    def _repr_info(self):
        info = Handle._repr_info(self)
        info.insert(2 if self._cancelled else 1, f"when={self.deadline}")
        return info

    def __hash__(self):
        return hash(self.deadline)

    def __eq__(self, other):
        if type(other) is not TimerHandle:
            return NotImplemented
        cdef TimerHandle that = <TimerHandle>other
        return (
            self.deadline == that.deadline
            and self._callback == that._callback
            and self._args == that._args
            and self._cancelled == that._cancelled
        )

    def __lt__(self, other):
        if type(other) is not TimerHandle:
            return NotImplemented
        return self.deadline < (<TimerHandle>other).deadline

    def __le__(self, other):
        if type(other) is not TimerHandle:
            return NotImplemented
        return self.deadline < (<TimerHandle>other).deadline or self == other

    def __gt__(self, other):
        if type(other) is not TimerHandle:
            return NotImplemented
        return self.deadline > (<TimerHandle>other).deadline

    def __ge__(self, other):
        if type(other) is not TimerHandle:
            return NotImplemented
        return self.deadline > (<TimerHandle>other).deadline or self == other


# A binary heap in a list (the list, so that the garbage collector sees through it). Every timer
# knows its place, so that a cancelled one is taken out instead of waiting for its time.

cdef inline TimerHandle at(list heap, Py_ssize_t i):
    return <TimerHandle><object>PyList_GET_ITEM(heap, i)


cdef inline void put(list heap, Py_ssize_t i, TimerHandle timer):
    heap[i] = timer
    timer.index = i


cdef void sift_up(list heap, Py_ssize_t i, TimerHandle timer):
    cdef Py_ssize_t parent
    cdef TimerHandle above
    while i > 0:
        parent = (i - 1) >> 1
        above = at(heap, parent)
        if above.deadline <= timer.deadline:
            break
        put(heap, i, above)
        i = parent
    put(heap, i, timer)


cdef void sift_down(list heap, Py_ssize_t i, TimerHandle timer):
    cdef Py_ssize_t child, size = PyList_GET_SIZE(heap)
    cdef TimerHandle below
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and at(heap, child + 1).deadline < at(heap, child).deadline:
            child += 1
        below = at(heap, child)
        if timer.deadline <= below.deadline:
            break
        put(heap, i, below)
        i = child
    put(heap, i, timer)


cdef int heap_push(list heap, TimerHandle timer) except -1:
    heap.append(timer)
    timer.heap = heap
    sift_up(heap, PyList_GET_SIZE(heap) - 1, timer)
    return 0


cdef TimerHandle heap_pop(list heap):
    cdef TimerHandle first = at(heap, 0)
    heap_remove(first)
    return first


cdef TimerHandle take_last(list heap):
    """`heap.pop()` that asks for no memory, not even for a smaller one: so it cannot fail, and no
    finalizer can run and change the heap meanwhile."""
    cdef Py_ssize_t size = PyList_GET_SIZE(heap) - 1
    cdef TimerHandle last = at(heap, size)
    Py_SET_SIZE(heap, size)
    Py_DECREF(last)         # the list's reference
    if size == 0:
        heap.clear()        # gives the memory back
    return last


cdef int heap_remove(TimerHandle timer) except -1:
    cdef list heap = timer.heap
    cdef Py_ssize_t i = timer.index
    cdef TimerHandle last
    if heap is None:
        return 0
    timer.heap = None
    # BaseEventLoop.close() empties the heap without asking.
    if i >= PyList_GET_SIZE(heap) or at(heap, i) is not timer:
        return 0
    last = take_last(heap)
    if last is timer:
        return 0
    if i > 0 and last.deadline < at(heap, (i - 1) >> 1).deadline:
        sift_up(heap, i, last)
    else:
        sift_down(heap, i, last)
    return 0
