# cython: freethreading_compatible=False
"""`Task`: an asyncio task that is stepped where it stands, and scheduled only when it waits.

To everything that looks (`asyncio.current_task`, `timeout`, `TaskGroup`, anyio) it is an
`asyncio.Task`: `isinstance` holds, the methods are there, and its identity never changes between
the first step and the last. What it saves is the first trip through the loop's ready queue, the
Handle for it, and the Future that a genuine task is.
"""

import asyncio
import itertools
import sys
import weakref
from asyncio import CancelledError, InvalidStateError

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF

cdef extern from "Python.h":
    # PYGEN_RETURN 0, PYGEN_ERROR -1 (with an exception set), PYGEN_NEXT 1
    int PyIter_Send(PyObject *iterator, PyObject *argument, PyObject **result) except? -1
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL
    int PyDict_SetItem(object mapping, object key, object value) except -1
    int PyDict_DelItem(object mapping, object key) except -1
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef object ASYNCIO_TASK = asyncio.Task
# The WeakSet that `asyncio.all_tasks()` reads; 3.12 gave it another name.
cdef object KNOWN = getattr(asyncio.tasks, "_scheduled_tasks", None)
if KNOWN is None:
    KNOWN = asyncio.tasks._all_tasks
cdef object task_number = itertools.count(1).__next__
# The dict in which CPython's accelerator looks for the current task. From 3.14 on there is none
# and only the function is left.
cdef dict CURRENT = getattr(asyncio.tasks, "_current_tasks", None) if sys.version_info < (3, 14) \
    else None
cdef object swap_current = getattr(asyncio.tasks, "_swap_current_task", None)


cdef int publish(object loop, object task, void **before) except -1:
    """Make `task` the current one of `loop`; `before` gets a reference to the one that was."""
    cdef PyObject *found
    if CURRENT is None:
        other = swap_current(loop, task)
        Py_INCREF(other)
        before[0] = <void *>other
        return 0
    found = PyDict_GetItemWithError(CURRENT, loop)
    if found != NULL:
        Py_INCREF(<object>found)
    before[0] = found
    PyDict_SetItem(CURRENT, loop, task)
    return 0


cdef int unpublish(object loop, void *before) except -1:
    """Take back what `publish` did."""
    if CURRENT is None:
        swap_current(loop, <object>before)
    elif before == NULL:
        PyDict_DelItem(CURRENT, loop)
    else:
        PyDict_SetItem(CURRENT, loop, <object>before)
    Py_XDECREF(<PyObject *>before)
    return 0


@cython.freelist(64)
cdef class Task:
    """A light task. Made and driven by the connection; never by hand."""

    # ---- driving ---------------------------------------------------------------------------

    cdef int launch(self, object loop, object coro, object context) except -1:
        self._loop = loop
        self.coro = coro
        self.context = context
        PyContext_Enter(context)
        try:
            self.step(None)
        finally:
            PyContext_Exit(context)
        return 0

    cdef int step(self, object error) except -1:
        """Go on until the coroutine waits or ends. Runs inside the context already."""
        cdef void *before = NULL
        if self._loop is None:
            return self.run(error)
        publish(self._loop, self, &before)
        try:
            self.run(error)
        finally:
            unpublish(self._loop, before)
        return 0

    cdef int run(self, object error) except -1:
        cdef PyObject *out
        cdef int status
        cdef object result, failure
        self.waiter = None
        self.running = True
        while True:
            if self.must_cancel:
                if not isinstance(error, CancelledError):
                    error = self._make_cancelled_error()
                self.must_cancel = False
            failure = None
            out = NULL
            status = 0
            try:
                if error is None:
                    status = PyIter_Send(<PyObject *>self.coro, <PyObject *>None, &out)
                    result = <object>out
                    Py_XDECREF(out)
                else:
                    result = self.coro.throw(error)
                    status = 1
            except StopIteration as stop:
                result = stop.value
                status = 0
            except BaseException as caught:
                result = None
                failure = caught
                status = -1
            if status == 1:
                self.running = False
                try:
                    return self.suspend(result)
                except BaseException as caught:
                    if self._loop is None:
                        raise
                    # What it yielded is no future, though it looked like one: its own fault.
                    self.running = True
                    error = caught
                    continue
            error = None
            self.coro = self.ended(result, failure)
            failure = result = None
            if self.coro is None:
                self.running = False
                return 0

    cdef int suspend(self, object what) except -1:
        """`what` was yielded: a future to wait for, or None for one turn of the loop."""
        if self._loop is None:
            self.coro.close()
            raise RuntimeError("the handler has to wait, and no event loop is running")
        if self.registration is None:
            # What WeakSet.add does, without its frame; finish() takes it out again, so that the
            # callback runs for a task only that never came to its end.
            self.registration = weakref.ref(self, KNOWN._remove)
            KNOWN.data.add(self.registration)
        if what is None:
            self._loop.call_soon(self._step, context=self.context)
            return 0
        blocking = getattr(what, "_asyncio_future_blocking", None)
        if blocking is None:
            complaint = f"Task got bad yield: {what!r}"
        elif what is self:
            complaint = f"Task cannot await on itself: {self!r}"
        elif not blocking:
            complaint = f"yield was used instead of yield from in task {self!r} with {what!r}"
        elif what.get_loop() is not self._loop:
            complaint = f"Task {self!r} got Future {what!r} attached to a different loop"
        else:
            what._asyncio_future_blocking = False
            what.add_done_callback(self._wakeup, context=self.context)
            self.waiter = what
            if self.must_cancel and what.cancel(msg=self.cancel_message):
                self.must_cancel = False
            return 0
        self._loop.call_soon(self._step, RuntimeError(complaint), context=self.context)
        return 0

    def _step(self, error=None):
        if not self.over:
            self.step(error)

    def _wakeup(self, future):
        try:
            future.result()
        except BaseException as error:
            self.step(error)
        else:
            self.step(None)

    cdef object ended(self, object value, object error):
        self.finish(value, error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        return None

    cdef int finish(self, object value, object error) except -1:
        """The task is over."""
        self.over = True
        self.value = value
        self.error = error
        self.waiter = None
        if self.registration is not None:
            KNOWN.data.discard(self.registration)
            self.registration = None
        if self.callbacks is not None:
            callbacks = self.callbacks
            self.callbacks = None
            for callback, context in callbacks:
                self._loop.call_soon(callback, self, context=context)
        return 0

    # ---- what asyncio.Task has -------------------------------------------------------------

    @property
    def __class__(self):
        return ASYNCIO_TASK

    @property
    def _asyncio_future_blocking(self):
        return self.blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint value):
        self.blocking = value

    @property
    def _fut_waiter(self):
        return self.waiter

    @property
    def _must_cancel(self):
        return self.must_cancel

    @_must_cancel.setter
    def _must_cancel(self, bint value):
        # anyio withdraws a cancellation this way.
        self.must_cancel = value

    @property
    def _num_cancels_requested(self):
        return self.cancels

    @property
    def _coro(self):
        return self.coro

    @property
    def _state(self):
        if not self.over:
            return "PENDING"
        return "CANCELLED" if self.cancelled() else "FINISHED"

    # What asyncio's and anyio's own helpers read of a task: repr, stacks, the root task.

    @property
    def _callbacks(self):
        return self.callbacks

    @property
    def _exception(self):
        return None if isinstance(self.error, CancelledError) else self.error

    @property
    def _result(self):
        return self.value

    @property
    def _cancel_message(self):
        return self.cancel_message

    @property
    def _source_traceback(self):
        return None

    _log_destroy_pending = True

    def get_coro(self):
        """The coroutine that is being run."""
        return self.coro

    def get_context(self):
        """The context that it runs in."""
        return self.context

    def get_loop(self):
        """The loop that it runs on."""
        return self._loop

    def get_name(self):
        """The name: `Request-N` unless set."""
        if self.name is None:
            self.name = f"Request-{task_number()}"
        return self.name

    def set_name(self, value):
        """Give it a name."""
        self.name = str(value)

    def get_stack(self, *, limit=None):
        """The frames of the coroutine, as `asyncio.Task.get_stack`."""
        return asyncio.base_tasks._task_get_stack(self, limit)

    def print_stack(self, *, limit=None, file=None):
        """Print the frames of the coroutine."""
        return asyncio.base_tasks._task_print_stack(self, limit, file)

    def done(self):
        """Whether it is over."""
        return self.over

    def cancelled(self):
        """Whether it ended by being cancelled."""
        return self.over and isinstance(self.error, CancelledError)

    def cancelling(self):
        """How many requests to cancel it are pending."""
        return self.cancels

    def uncancel(self):
        """Withdraw one request to cancel; returns how many are left."""
        if self.cancels > 0:
            self.cancels -= 1
            if self.cancels == 0 and sys.version_info >= (3, 13):
                self.must_cancel = False
        return self.cancels

    def cancel(self, msg=None):
        """Throw CancelledError into the coroutine at its next step; False when it is over."""
        if self.over:
            return False
        self.cancels += 1
        if self.waiter is not None and self.waiter.cancel(msg=msg):
            return True
        self.must_cancel = True
        self.cancel_message = msg
        if self.waiter is not None and self.waiter.done():
            self._loop.call_soon(self._wake_lost, self.waiter, context=self.context)
        return True

    def _wake_lost(self, waiter):
        """What is waited for is done, and the callback that says so came before this one. Else it
        is lost: there was no memory to schedule it, and nobody else would ever wake the task."""
        if not self.over and self.waiter is waiter:
            self._wakeup(waiter)

    def _make_cancelled_error(self):
        message = self.cancel_message
        self.cancel_message = None
        return CancelledError() if message is None else CancelledError(message)

    def result(self):
        """The outcome. Raises it when it is an error, InvalidStateError when not over."""
        if not self.over:
            raise InvalidStateError("Result is not ready.")
        if self.error is not None:
            raise self.error
        return self.value

    def exception(self):
        """The error it ended with, or None."""
        if not self.over:
            raise InvalidStateError("Exception is not set.")
        if isinstance(self.error, CancelledError):
            raise self.error
        return self.error

    def set_result(self, result):
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception):
        raise RuntimeError("Task does not support set_exception operation")

    def add_done_callback(self, fn, *, context=None):
        """Call `fn(task)` soon after the end."""
        if context is None:
            import contextvars
            context = contextvars.copy_context()
        if self.over:
            self._loop.call_soon(fn, self, context=context)
        else:
            if self.callbacks is None:
                self.callbacks = []
            self.callbacks.append((fn, context))

    def remove_done_callback(self, fn):
        """Forget a callback; returns how many were removed."""
        if self.callbacks is None:
            return 0
        kept = [pair for pair in self.callbacks if pair[0] != fn]
        removed = len(self.callbacks) - len(kept)
        self.callbacks = kept
        return removed

    def __await__(self):
        if not self.over:
            self.blocking = True
            yield self
        if not self.over:
            raise RuntimeError("await wasn't used with future")
        return self.result()

    def __iter__(self):
        return self.__await__()

    def __repr__(self):
        state = self._state.lower()
        if self.cancels and not self.over:
            state = "cancelling"
        return f"<Task {state} name={self.get_name()!r} coro={self.coro!r}>"
