# What the ready queue and the timer heap hold.

cdef class Runnable:
    """Something that the ready queue runs itself, without a Handle around it."""
    cdef int run(self) except -1


cdef class Handle:
    cdef public object _callback, _args, _context, _loop
    cdef public object _source_traceback, _repr
    cdef public bint _cancelled
    cdef object __weakref__
    cdef int run(self) except -1


cdef class TimerHandle(Handle):
    cdef double deadline        # loop.time(), seconds
    cdef list heap              # the heap it lies in, None when it does not
    cdef Py_ssize_t index       # its place there


cdef int heap_push(list heap, TimerHandle timer) except -1
cdef TimerHandle heap_pop(list heap)
cdef int heap_remove(TimerHandle timer) except -1
