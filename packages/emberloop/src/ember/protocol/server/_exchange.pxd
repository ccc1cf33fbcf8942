# One request and its response: see _exchange.pyx.
from ember.protocol.server._output cimport HTTPOutput
from ember.protocol.message._request cimport Request
from ember.protocol.message._response cimport Response
from ember.protocol.server._task cimport Task

cdef enum:
    # why a handler was cancelled
    NOT_CANCELLED = 0
    LEFT = 1
    TIMEOUT = 2
    BROKEN = 3


cdef class Exchange(Task):
    cdef HTTPOutput output
    cdef Request request
    cdef object body_reader, framing             # of a body that was not there with the head
    cdef object awaited                     # what the handler gave, when it is no coroutine
    cdef object genuine                     # the asyncio.Task of strict_tasks
    cdef readonly bint answered, started, abandoned
    cdef bint finishing, began
    cdef int cancelled_for
    # for the observer: the status once one was decided, when it began, what was sent before
    cdef int status
    cdef bint notified
    cdef double began_at
    cdef Py_ssize_t mark

    cdef int call(self) except -1
    cdef int start_coroutine(self, object coro) except -1
    cdef int start_waiting(self, object awaitable) except -1
    cdef object answer(self, object value)
    cdef object answer_error(self, object error)
    cdef object last(self, object error)
    cdef object conclude(self, object error, bint broken)
    cdef int log_end(self, object error) except -1
    cdef bint head_only(self) noexcept
    cdef int send_text(self, str text) except -1
    cdef int send_whole(self, bytes line, const char *kind, Py_ssize_t kind_size, bytes fields,
                        const char *data, Py_ssize_t size, bytes body) except -1
    cdef object into_response(self, object value)
    cdef object on_error(self, object error)
    cdef bint keep_alive(self) except -1
    cdef int send(self, Response response) except -1
    cdef int switch(self, Response response) except -1
    cdef int complete(self, bint keep_alive) except -1
    cdef int notify(self, bint aborted) except -1
    cdef bint is_over(self) except -1
    cdef int cancel_for(self, int why) except -1
    cdef int client_left(self) except -1
    cdef int abandon(self) except -1
    cdef int release(self) except -1
    cdef int give_up(self) except -1
