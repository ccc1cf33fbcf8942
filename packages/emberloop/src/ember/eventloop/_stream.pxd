# The compiled seam between the loop and whoever talks over its sockets (docs/internals/loop.md).
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from ember.eventloop._handles cimport Runnable, TimerHandle

cdef struct Core

cdef enum:
    STREAM_RESERVE_MAX = 16384      # the largest size that Stream.reserve() takes, bytes

    # what became of Stream.write_file()
    FILE_SENT = 0       # the kernel has it all (or nobody wants it any more)
    FILE_KEPT = 1       # the rest follows as the socket takes it; on_drained() tells when
    FILE_BUSY = 2       # nothing of it: earlier bytes are unsent; on_drained() tells when to ask
    FILE_CANNOT = 3     # nothing of it: it has to be read and written


cdef class Stream:
    """One connected stream socket on the compiled loop, over io_uring or epoll."""
    cdef readonly CoreLoop loop
    cdef readonly int fd
    cdef readonly bint closing
    cdef bint begins                        # its owner starts reading in the next turn
    cdef readonly Py_ssize_t backlog        # bytes accepted and not yet with the kernel
    cdef Py_ssize_t high, low               # water marks of the backlog, bytes
    # What follows belongs to the loop.
    cdef uint32_t flags
    cdef uint32_t pending                   # completions still to come from the ring
    cdef uint32_t first_span, last_span     # this turn's spans, index + 1; 0 is none
    cdef Py_ssize_t queued                  # bytes in this turn's spans
    cdef void *outbox                       # chunks the socket did not take, oldest first
    cdef object inbox                       # list of bytes received while reading was paused
    cdef object error                       # what on_lost will be told

    # called by the loop; `data` is valid only during the call
    cdef int on_connect(self) except -1                  # accepted and attached
    cdef int on_data(self, char *data, Py_ssize_t size) except -1
    cdef int on_eof(self) except -1                      # the peer half-closed; default: close()
    # After watch_peer(), while reading is paused: the peer ended its side, or left; what it sent
    # before may still wait to be read. A reset is told by on_lost, also after on_eof.
    cdef int on_hangup(self) except -1
    cdef int on_lost(self, object error) except -1       # exactly once, the last call
    cdef int on_pause_writing(self) except -1            # backlog above `high`
    cdef int on_resume_writing(self) except -1           # backlog at or below `low` again
    cdef int on_drained(self) except -1                  # once after tell_drained(): all is sent
    cdef int on_flushed(self) except -1                  # closing, and the outbox is empty now
    cdef int on_file_failed(self, object error) except -1   # default: abort(error)
    cdef int release(self) except -1                     # closes the descriptor; default: close(fd)

    # called by the owner
    cdef int attach(self, CoreLoop loop, int fd) except -1  # adopt a connected socket
    cdef int borrow(self, CoreLoop loop, int fd) except -1  # the same; someone else closes it
    cdef char *reserve(self, Py_ssize_t size) except NULL
    cdef int commit(self, Py_ssize_t size) except -1
    cdef int write(self, const char *data, Py_ssize_t size) except -1
    cdef int write_object(self, object data) except -1
    # In this call, not with the turn's spans; `later`: with what else is written in this turn
    cdef int send_now(self, object data, bint later) except -1
    cdef int uncork(self) except -1                      # send what may leave later
    # Part of a file, by the kernel; `fd` stays open until it is drained or aborted, `owner` is held
    cdef int write_file(self, object owner, int fd, int64_t offset, Py_ssize_t size) except -1
    cdef int watch_peer(self) noexcept                   # tell of its leaving, see on_hangup
    cdef int pause_reading(self) except -1
    cdef int resume_reading(self) except -1              # also the first start of reading
    cdef bint is_reading(self) noexcept
    cdef int write_eof(self) except -1
    cdef int close(self) except -1
    cdef int abort(self, object error) except -1

    cdef bint takes_writes(self) noexcept                # false after the end was decided
    cdef bint is_paused(self) noexcept                   # the owner was told to pause writing
    cdef int detach(self) except -1                      # close now, without waiting or telling

    # the loop's own
    cdef int schedule_update(self) except -1                        # ask for the loop's attention
    cdef int tell_drained(self) except -1
    cdef int apply_updates(self) except -1
    cdef int look_at_peer(self) except -1
    cdef int interest(self) except -1
    cdef int read_inbox(self) except -1
    cdef int read_last(self) except -1
    cdef int finish(self) except -1
    cdef int received(self, char *data, Py_ssize_t size) except -1
    cdef int ended(self) except -1
    cdef int push(self, const char *data, Py_ssize_t size, object owner, int more=*) except -1
    cdef int queue_unsent(self, const char *data, Py_ssize_t size, object owner) except -1
    cdef int drop_spans(self) except -1
    cdef int drop_outbox(self) except -1
    cdef int check_high(self) except -1
    cdef int check_low(self) except -1
    cdef int fail(self, int error) except -1


cdef class Listener:
    """A listening socket; multishot accept on the ring, an accept4 loop on epoll."""
    cdef readonly CoreLoop loop
    cdef readonly int fd
    cdef readonly object sock
    cdef readonly bint closed
    cdef public bint shared                 # with other processes: one connection at a time
    cdef uint32_t flags
    cdef uint32_t pending
    cdef list early                         # accepted while the loop handed out nothing
    cdef Stream make_stream(self)                        # the Stream for the next accepted socket
    cdef int adopt(self, int fd) except -1               # default: make_stream, attach, read
    cdef int start(self) except -1                       # also after pause
    cdef int pause(self) except -1
    cdef int look(self) except -1                        # accept what waits, unless paused
    cdef int close(self) except -1                       # the port is free when it returns
    cdef int schedule_update(self) except -1
    cdef int apply_updates(self) except -1
    cdef int accepted(self, int result) except -1
    cdef int exhausted(self, int error) except -1        # no descriptors; told once until it heals


cdef class CoreLoop:
    """The compiled half of the event loop: ready queue, timers, streams and the turn."""
    # For the owners of streams.
    cdef readonly double now                # loop.time() at the start of this turn, seconds
    cdef readonly uint64_t turns            # turns since the loop was made
    # `has_deferred` asks for `undo_deferred()` before any callback that is not a Runnable, and at
    # the end of the turn: whoever publishes something lazily (the current task) takes it back
    # there.
    cdef bint has_deferred
    cdef int (*undo_deferred)() except -1
    cdef int send_now(self) except -1                    # what was written in this turn
    cdef int post(self, Runnable what) except -1         # run it in the next batch
    cdef int run_deferred(self) except -1                # undo it now if someone asked for it
    cdef TimerHandle call_at_deadline(self, double deadline, object callback, object args)
    # What follows belongs to the loop.
    cdef Core *core
    cdef list ready                         # a ring of slots; the garbage collector sees a list
    cdef Py_ssize_t ready_head, ready_count
    cdef list risen                         # streams whose backlog rose while `sending`
    cdef bint sending                       # spans are at work: nobody is told anything now
    cdef public list _scheduled             # the timer heap
    cdef public bint _stopping, _debug, _closed
    cdef bint forever, waiting, woken
    cdef readonly long forked_from          # in a child of a fork: the process whose loop this is
    cdef object preference, reason, context
    cdef uint32_t recv_buffers, recv_buffer_size     # 0: as the module says
    cdef object __weakref__

    cdef int push_ready(self, object what) except -1
    cdef int grow_ready(self) except -1
    cdef int run_ready(self) except -1
    cdef int run_slowly(self, object what) except -1
    cdef int open_core(self) except -1
    cdef int reset_core(self, bint inherited) except -1
    cdef int disown(self) except -1
    cdef int bury(self) except -1
    cdef int turn(self) except -1
    cdef bint ask(self, PyObject *what) noexcept
    cdef bint make_room(self) noexcept
    cdef int apply_updates(self) except -1
    cdef int flush(self) except -1
    cdef int send_spans(self) except -1
    cdef int tell_risen(self) except -1
    cdef int spill(self) except -1
    cdef int scan_sends(self) except -1
    cdef int look_at_sends(self) except -1
    cdef int take_back_sends(self) except -1
    cdef int fail_unseen(self) except -1
    cdef int withdraw(self, object what) except -1
    cdef int on_sent(self, uint64_t tag, int res) except -1
    cdef int wait_ring(self, bint wait, double timeout) except -1
    cdef int reap(self) except -1
    cdef int hand_out(self) except -1
    cdef int hand_out_events(self, int i, int n) except -1
    cdef int drain(self, bint closing) except -1
    cdef int complete(self, uint64_t tag, int res, uint32_t flags) except -1
    cdef int leave(self) except -1
    cdef int stash_ready(self) except -1
    cdef object pop_ready(self)
    cdef int run_timers(self) except -1
    cdef int wait_epoll(self, bint wait, double timeout) except -1
    cdef int poll_selector(self) except -1
    cdef int retire_ring(self) except -1
    cdef int cancel_everything(self) except -1
    cdef int register(self, object what, int fd) except -1
    cdef int unregister(self, int fd) except -1
    cdef int guard(self, object what, str message) except -1
