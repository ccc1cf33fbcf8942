# The compiled connection: see _connection.pyx.
from ember.protocol._request cimport Request, h1_head, h1_limits
from ember.protocol._response cimport Response
from ember.protocol._sink cimport Sink
from ember.protocol._task cimport Task


cdef class Connection:
    cdef readonly object app, limits, client, scheme, loop
    cdef public object context              # what every request's context is a copy of
    cdef public bytearray buffer            # received and not yet used
    cdef Sink sink
    cdef Exchange exchange
    cdef h1_head head
    cdef h1_limits bounds
    cdef object dispatch, resumed
    cdef readonly Py_ssize_t requests
    cdef Py_ssize_t written
    cdef public bint closing, is_lost, ended, draining
    cdef bint strict, processing, reading, paused, head_only
    # deadlines: seconds of the loop's clock, NEVER is infinity
    cdef double read_until, handler_until, moved_at
    cdef long long progress               # of the peer, at the last look
    cdef int phase
    cdef Sweep sweep

    cdef int attach(self, object loop) except -1
    cdef int feed(self, char *data, Py_ssize_t size) except -1
    cdef int eof(self) except -1
    cdef int lost(self) except -1
    cdef int pause_writing(self) except -1
    cdef int resume_writing(self) except -1
    cpdef int drain_and_close(self) except -1
    cdef int wake(self) except -1
    cdef int process(self) except -1
    cdef int go_on(self) except -1
    cdef Py_ssize_t serve(self, char *data, Py_ssize_t size, bint buffered) except -1
    cdef Py_ssize_t begin(self, char *data, Py_ssize_t size, bint buffered) except -1
    cdef int stop_cleanly(self) except -1
    cdef int answered(self, bint keep_alive) except -1
    cdef int refuse_with(self, object error) except -1
    cdef int stop(self, bint linger) except -1
    cdef int abort_now(self) except -1
    cdef int look(self) except -1
    cdef int expect_within(self, int phase, double seconds) except -1
    cdef int check(self, double now) except -1


cdef class Exchange(Task):
    cdef Connection connection
    cdef Request request
    cdef object intake, framing             # of a body that was not there with the head
    cdef object awaited                     # what the handler gave, when it is no coroutine
    cdef object genuine                     # the asyncio.Task of strict_tasks
    cdef readonly bint answered, started, abandoned
    cdef bint finishing, began
    cdef int cancelled_for

    cdef int call(self) except -1
    cdef int start_coroutine(self, object coro) except -1
    cdef int start_waiting(self, object awaitable) except -1
    cdef object last(self, object error)
    cdef bint head_only(self) noexcept
    cdef int send_text(self, str text) except -1
    cdef int send_whole(self, bytes line, const char *kind, Py_ssize_t kind_size, const char *data,
                        Py_ssize_t size, bytes body) except -1
    cdef object into_response(self, object value)
    cdef object on_error(self, object error)
    cdef bint keep_alive(self) except -1
    cdef int send(self, Response response) except -1
    cdef int complete(self, bint keep_alive) except -1
    cdef bint is_over(self) except -1
    cdef int cancel_for(self, int why) except -1
    cdef int client_left(self) except -1
    cdef int abandon(self) except -1
    cdef int give_up(self) except -1


cdef class Sweep:
    cdef object loop, timer, __weakref__
    cdef set connections
    cdef double interval
    cdef readonly double now                # the loop's clock at the last look, seconds
    cdef int add(self, Connection connection) except -1
    cdef int discard(self, Connection connection) except -1
    cdef int want(self, double seconds) except -1
    cdef int schedule(self) except -1
