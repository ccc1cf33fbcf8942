# The task of one request: see _task.pyx.

cdef class Task:
    cdef readonly object _loop
    cdef object coro, context, waiter, cancel_message, name, callbacks, value, error, registration
    cdef int cancels
    cdef bint must_cancel, running, over, blocking
    cdef object __weakref__

    # Make the coroutine's first steps now, in `context`, as the current task of `loop`.
    cdef int launch(self, object loop, object coro, object context) except -1
    cdef int step(self, object error) except -1
    cdef int run(self, object error) except -1
    cdef int suspend(self, object what) except -1
    cdef int finish(self, object value, object error) except -1
    # The coroutine has ended with `value` or `error`: another one to go on with in the same task,
    # or None. Default: the task is over with that outcome.
    cdef object ended(self, object value, object error)

cdef int publish(object loop, object task, void **before) except -1
cdef int unpublish(object loop, void *before) except -1
