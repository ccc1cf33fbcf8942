# CoreLoop: the ready queue, timers, and the turn.
#
# Ownership: what a kernel event names (a listener, a stream) stays alive until the next turn
# begins, so every callback may re-enter the loop: close or cancel anything, itself and what is
# later in the same batch included, raise, schedule, or fork. `unregister` keeps the reference for
# that long and `bury` gives it up. In the child of a fork that a callback made the loop is the
# parent's (`disown`). Nothing that can run Python code (memory for an object may: the garbage
# collector runs finalizers) happens while a structure of the loop is between two states.

#: Receive buffers of one ring: how many and how large (bytes); both powers of two.
RECV_BUFFERS = 256
RECV_BUFFER_SIZE = 8192

cdef object LOOPS = weakref.WeakSet()
cdef double CLOCK_RESOLUTION = 1e-9


def _after_fork_in_child():
    for loop in list(LOOPS):
        if (<CoreLoop>loop).forever:
            (<CoreLoop>loop).disown()
        else:
            (<CoreLoop>loop).reset_core(True)


def _before_fork():
    for loop in list(LOOPS):
        (<CoreLoop>loop).retire_ring()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def probe_ring():
    """None when io_uring can be had here, else the reason why not (for people)."""
    cdef ring r
    cdef int err = ring_open(&r, 8, 8, 4096)
    if err == 0:
        ring_close(&r, 0)
        return None
    return explain(-err)


cdef str explain(int error):
    cdef str text = os.strerror(error)
    if error == EPERM:
        return f"io_uring is forbidden here ({text}): a seccomp profile or io_uring_disabled"
    if error == ENOSYS:
        return f"this kernel has no io_uring ({text})"
    return f"io_uring cannot be used ({text}); it needs Linux 6.1 or newer"


cdef class CoreLoop:
    def __cinit__(self, *args, **kwargs):
        cdef int i
        cdef void *memory
        self._closed = True  # until it has been made, for BaseEventLoop.__del__
        self.core = <Core *>calloc(1, sizeof(Core))
        if self.core == NULL:
            raise MemoryError
        self.core.epoll = self.core.ring.fd = self.core.wake = -1
        for i in range(2):
            memory = mmap(NULL, ARENA_SIZE + ARENA_SLACK, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            if memory == MAP_FAILED:
                raise MemoryError
            self.core.arenas[i].memory = <char *>memory
        self.ready = [None] * 64
        self.risen = []
        self._scheduled = []
        self.now = ember_clock()
        LOOPS.add(self)

    def __dealloc__(self):
        cdef int i
        cdef size_t k
        cdef Core *core = self.core
        if core == NULL:
            return
        self.core = NULL
        ring_close(&core.ring, core.pid != os_getpid())
        if core.epoll >= 0:
            sys_close(core.epoll)
        if core.wake >= 0:
            sys_close(core.wake)
        for i in range(2):
            if core.arenas[i].memory != NULL:
                munmap(core.arenas[i].memory, ARENA_SIZE + ARENA_SLACK)
            free(core.arenas[i].spans)
        free(core.events)
        free(core.read_buffer)
        free(core.table)
        free(core.stash)
        for k in range(core.past_count):
            if core.past[k] != NULL:
                Py_DECREF(<object>core.past[k])
        free(core.past)
        for k in range(core.todo_at, core.todo_end):
            Py_DECREF(<object>core.todo[k])
        free(core.todo)
        free(core)

    # ---- the ready queue -------------------------------------------------------------------

    cdef int push_ready(self, object what) except -1:
        cdef Py_ssize_t size = PyList_GET_SIZE(self.ready)
        while self.ready_count == size:
            self.grow_ready()
            size = PyList_GET_SIZE(self.ready)
        self.ready[(self.ready_head + self.ready_count) & (size - 1)] = what
        self.ready_count += 1
        return 0

    cdef int grow_ready(self) except -1:
        cdef list old = self.ready
        cdef Py_ssize_t size = PyList_GET_SIZE(old), i
        # Memory for it may bring the garbage collector, and that a finalizer which schedules: so
        # everything is allocated before anything is changed.
        cdef list larger = [None] * (size * 2)
        if self.ready is not old or self.ready_count < size:
            return 0    # it has grown meanwhile
        for i in range(size):
            larger[i] = <object>PyList_GET_ITEM(old, (self.ready_head + i) & (size - 1))
        self.ready = larger
        self.ready_head = 0
        return 0

    cdef object pop_ready(self):
        cdef Py_ssize_t head = self.ready_head
        cdef object what = <object>PyList_GET_ITEM(self.ready, head)
        self.ready[head] = None
        self.ready_head = (head + 1) & (PyList_GET_SIZE(self.ready) - 1)
        self.ready_count -= 1
        return what

    cdef int post(self, Runnable what) except -1:
        return self.push_ready(what)

    @property
    def _ready(self):
        """What is to run in the next batch, oldest first (a copy; for inspection)."""
        cdef list order = self.ready[self.ready_head:] + self.ready[:self.ready_head]
        return ReadyView(self, order[:self.ready_count])

    @_ready.setter
    def _ready(self, ignored):
        """BaseEventLoop.__init__ wants to put a deque here."""

    def _clear_ready(self):
        # The old one lives until the new one is in order: the end of a callback may schedule.
        cdef list old = self.ready
        cdef list empty = [None] * 64
        self.ready = empty
        self.ready_head = self.ready_count = 0
        old = None

    def _add_callback(self, handle):
        if not handle._cancelled:
            self.push_ready(handle)

    def _push(self, what):
        self.push_ready(what)

    def call_soon(self, callback, *args, context=None):
        """As BaseEventLoop.call_soon."""
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        cdef Handle handle = make_handle(self, callback, args, context)
        self.push_ready(handle)
        return handle

    def _call_soon(self, callback, args, context):
        cdef Handle handle = make_handle(self, callback, args, context)
        self.push_ready(handle)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        """As BaseEventLoop.call_soon_threadsafe. Wakes the loop only when it sleeps."""
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        cdef Handle handle = make_handle(self, callback, args, context)
        self.push_ready(handle)
        # `waiting` changes only under the GIL, which the loop gives up right after it looked at
        # the queue for the last time.
        if self.waiting and not self.woken:
            self.woken = True
            if self.core.wake < 0 or ember_wake(self.core.wake) < 0:
                self._write_to_self()
        return handle

    # ---- timers ----------------------------------------------------------------------------

    def time(self):
        """Seconds of the monotonic clock."""
        return ember_clock()

    @property
    def _clock(self):
        """Where the time of this turn is kept: the address of a double of the loop's."""
        return <uintptr_t>&self.now

    def call_later(self, delay, callback, *args, context=None):
        """As BaseEventLoop.call_later: `delay` in seconds."""
        if delay is None:
            raise TypeError("delay must not be None")
        cdef double deadline = ember_clock() + delay
        return self._timer(deadline, callback, args, context, "call_later")

    def call_at(self, when, callback, *args, context=None):
        """As BaseEventLoop.call_at: `when` in the terms of loop.time()."""
        if when is None:
            raise TypeError("when cannot be None")
        return self._timer(when, callback, args, context, "call_at")

    def _timer(self, double deadline, callback, tuple args, context, method):
        if self._closed:
            self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, method)
        cdef TimerHandle timer = TimerHandle.__new__(TimerHandle)
        fill_handle(timer, self, callback, args, context)
        timer.deadline = deadline
        heap_push(self._scheduled, timer)
        return timer

    cdef TimerHandle call_at_deadline(self, double deadline, object callback, object args):
        return self._timer(deadline, callback, args, None, "call_at")

    cdef int run_timers(self) except -1:
        cdef double end
        cdef TimerHandle timer
        if PyList_GET_SIZE(self._scheduled) == 0:
            return 0
        end = ember_clock() + CLOCK_RESOLUTION
        while PyList_GET_SIZE(self._scheduled):
            timer = <TimerHandle><object>PyList_GET_ITEM(self._scheduled, 0)
            if timer.deadline >= end:
                break
            while self.ready_count == PyList_GET_SIZE(self.ready):
                try:
                    self.grow_ready()
                except MemoryError:
                    return 0    # those that are ready make room; the timer stays for the next turn
            self.push_ready(heap_pop(self._scheduled))
        return 0

    # ---- running ---------------------------------------------------------------------------

    def run_forever(self):
        """As BaseEventLoop.run_forever."""
        cdef bint outer = self.forever
        self.forever = True
        try:
            super().run_forever()
        finally:
            self.forever = outer
            if not outer:
                self.leave()

    cdef int leave(self) except -1:
        # What was written in the last turn must not wait for a next run.
        if self.core.kind != NO_CORE and not self._closed:
            self.apply_updates()
            self.flush()
            if self.core.kind == RING_CORE and ring_unsubmitted(&self.core.ring):
                ring_enter(&self.core.ring, 0, 0)
        return 0

    def _run_once(self):
        self.open_core()
        while True:
            self.turn()
            if self._stopping or not self.forever:
                return

    cdef int run_deferred(self) except -1:
        if self.has_deferred:
            self.has_deferred = False
            self.undo_deferred()
        return 0

    cdef int run_ready(self) except -1:
        # As many as there are now: what they add runs after the next look at the sockets.
        cdef Py_ssize_t n = self.ready_count
        cdef object what
        while n > 0 and self.ready_count:
            n -= 1
            what = self.pop_ready()
            if type(what) is Handle or type(what) is TimerHandle:
                if self.has_deferred:
                    self.run_deferred()
                if self._debug:
                    self.run_slowly(what)
                else:
                    (<Handle>what).run()
            elif isinstance(what, Runnable):
                (<Runnable>what).run()
            else:
                if self.has_deferred:
                    self.run_deferred()
                if not what._cancelled:
                    if self._debug:
                        self.run_slowly(what)
                    else:
                        what._run()
        if self.has_deferred:
            self.run_deferred()
        return 0

    cdef int run_slowly(self, object what) except -1:
        cdef double start
        if what._cancelled:
            return 0
        self._current_handle = what
        try:
            start = ember_clock()
            what._run()
            self._note_duration(what, ember_clock() - start)
        finally:
            self._current_handle = None
        return 0

    cdef int turn(self) except -1:
        cdef Core *core = self.core
        cdef bint wait = False
        cdef double timeout = -1.0
        if self.forked_from:
            self._check_closed()
        self.turns += 1
        if core.past_count:
            self.bury()
        if core.todo_end:
            self.apply_updates()
        self.flush()
        if self.ready_count == 0 and not self._stopping and core.todo_end == 0:
            wait = True
            if PyList_GET_SIZE(self._scheduled):
                timeout = (<TimerHandle><object>PyList_GET_ITEM(self._scheduled, 0)).deadline
                timeout -= ember_clock()
                if timeout <= 0:
                    wait = False
                elif timeout > 86400.0:
                    timeout = 86400.0
        if core.kind == RING_CORE:
            self.wait_ring(wait, timeout)
            self.reap()
        else:
            self.wait_epoll(wait, timeout)
        if self.forked_from:
            self._check_closed()
        if core.selector_ready:
            core.selector_ready = False
            self.poll_selector()
        PyErr_CheckSignals()
        self.run_timers()
        self.run_ready()
        return 0

    cdef int poll_selector(self) except -1:
        self._process_events(self._selector.select(0))
        return 0

    cdef bint ask(self, PyObject *what) noexcept:
        """Updates `what` when the next turn begins. False: there is no memory to remember it, which
        cannot happen for what is registered."""
        cdef Core *core = self.core
        if core.todo_end == core.todo_room:
            self.make_room()
            if core.todo_end == core.todo_room:
                return False
        Py_INCREF(<object>what)
        core.todo[core.todo_end] = what
        core.todo_end += 1
        return True

    cdef bint make_room(self) noexcept:
        """Room in the list of what is to be updated, for twice what is registered: while all are
        updated, each may ask again. `register` needs it, so that asking needs no memory.
        """
        cdef Core *core = self.core
        cdef size_t count = core.todo_end - core.todo_at
        cdef size_t room = count + 2 * <size_t>core.streams + 2
        cdef PyObject **todo
        if core.todo_at:
            memmove(core.todo, core.todo + core.todo_at, count * sizeof(PyObject *))
            core.todo_stop = core.todo_stop - core.todo_at if core.todo_stop > core.todo_at else 0
            core.todo_at = 0
            core.todo_end = count
        if room > core.todo_room:
            room += room // 2
            todo = <PyObject **>realloc(core.todo, room * sizeof(PyObject *))
            if todo == NULL:
                return False
            core.todo = todo
            core.todo_room = room
        return True

    cdef int apply_updates(self) except -1:
        cdef Core *core = self.core
        cdef PyObject *first
        cdef object what
        if core.sends_unseen:
            self.scan_sends()
        # What they ask for in turn comes with the next turn.
        core.todo_stop = core.todo_end
        while core.todo_at < core.todo_stop:
            first = core.todo[core.todo_at]
            core.todo_at += 1
            what = <object>first
            Py_DECREF(what)         # the list's reference; `what` has one of its own
            try:
                if isinstance(what, Stream):
                    (<Stream>what).apply_updates()
                else:
                    (<Listener>what).apply_updates()
            except BaseException:
                # The others stay in the list, even if this ends the program.
                self.guard(what, "a stream or listener could not be updated")
        if core.todo_at == core.todo_end:
            core.todo_at = core.todo_end = core.todo_stop = 0
        else:
            self.make_room()
        return 0

    # ---- the backend -----------------------------------------------------------------------

    cdef int open_core(self) except -1:
        """Makes the ring or epoll when there is none, or when it belongs to another thread."""
        cdef Core *core = self.core
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef long pid = os_getpid()
        cdef int err
        if core.kind != NO_CORE:
            if core.pid != pid:
                self.reset_core(True)
            elif core.kind == RING_CORE and core.thread != thread:
                self.reset_core(False)
            else:
                return 0
        core.pid = pid
        core.thread = thread
        if core.wake >= 0 and core.wake_pid != pid:
            sys_close(core.wake)        # inherited: the parent's
            core.wake = -1
        if core.wake < 0:
            core.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
            core.wake_pid = pid
        if self.preference != "epoll":
            err = ring_open(&core.ring, SQ_ENTRIES, self.recv_buffers or RECV_BUFFERS,
                            self.recv_buffer_size or RECV_BUFFER_SIZE)
            if err == 0:
                core.kind = RING_CORE
                core.poll_armed = core.wake_armed = False
                self.reason = None
                return 0
            self.reason = explain(-err)
            if self.preference == "io_uring":
                raise RuntimeError(f"{self.reason}. EMBER_LOOP=epoll works everywhere")
        if core.events == NULL:
            core.events = <epoll_event *>malloc(MAX_EVENTS * sizeof(epoll_event))
        if core.read_buffer == NULL:
            core.read_buffer = <char *>malloc(READ_SIZE)
        if core.events == NULL or core.read_buffer == NULL:
            raise MemoryError
        core.epoll = epoll_create1(EPOLL_CLOEXEC)
        if core.epoll < 0:
            raise OSError(errno, f"epoll_create1: {os.strerror(errno)}")
        # The eventfd edge-triggered: every write is told once, and nobody has to read.
        if ember_epoll_set(
            core.epoll, EPOLL_CTL_ADD, self._selector.fileno(), EPOLLIN, NULL
        ) < 0 or core.wake >= 0 and ember_epoll_set(
            core.epoll, EPOLL_CTL_ADD, core.wake, EPOLLIN | EPOLLET, <void *>core
        ) < 0:
            err = errno
            sys_close(core.epoll)
            core.epoll = -1
            raise OSError(err, f"epoll_ctl: {os.strerror(err)}")
        core.kind = EPOLL_CORE
        return 0

    cdef int reset_core(self, bint inherited) except -1:
        """Forgets ring or epoll and all that was armed on it; it will be armed again.

        In a child of fork() what was written but not sent is the parent's to send.
        """
        cdef Core *core = self.core
        cdef Py_ssize_t i
        cdef object what
        if core == NULL or core.kind == NO_CORE:
            return 0
        if core.kind == RING_CORE:
            if not inherited:
                self.reap()
            ring_close(&core.ring, inherited)
        else:
            sys_close(core.epoll)
            core.epoll = -1
        core.kind = NO_CORE
        core.sends_unseen = False
        core.stash_count = core.stash_next = 0
        for i in range(core.table_size):
            if core.table[i] == NULL:
                continue
            what = <object>core.table[i]
            if isinstance(what, Stream):
                forget_stream(<Stream>what, inherited)
            else:
                forget_listener(<Listener>what)
        if inherited:
            for i in range(2):
                core.arenas[i].used = core.arenas[i].count = 0
        return 0

    cdef int disown(self) except -1:
        """In a child of a fork that a callback of this loop made: the loop is the parent's.

        Nothing of it may be used here, or the child would answer the parent's clients and take its
        signals. The descriptors that only the loop knows are closed; epoll and ring are shared with
        the parent and left as they are.
        """
        cdef Core *core = self.core
        cdef Py_ssize_t i
        cdef object what
        self.forked_from = core.pid
        self.reset_core(True)
        self._closed = True
        for i in range(core.table_size):
            if core.table[i] == NULL:
                continue
            what = <object>core.table[i]
            if isinstance(what, Stream):
                (<Stream>what).flags |= S_ABORT | S_LOST
                (<Stream>what).closing = True
                if not (<Stream>what).flags & S_BORROWED:
                    (<Stream>what).fd = -1
                    sys_close(i)
            else:
                (<Listener>what).flags &= ~<uint32_t>L_WANT
                (<Listener>what).closed = True
        if core.wake >= 0:
            sys_close(core.wake)
            core.wake = -1
        core.todo_stop = core.todo_end
        while core.todo_at < core.todo_stop:
            core.todo_at += 1
            what = <object>core.todo[core.todo_at - 1]
            Py_DECREF(what)
            if isinstance(what, Stream):
                (<Stream>what).flags &= ~<uint32_t>S_TODO
        what = None
        core.todo_at = core.todo_end = core.todo_stop = 0
        self._clear_ready()
        self._scheduled = []
        self._forget_parent()
        return 0

    cdef int retire_ring(self) except -1:
        """Takes everything back from a ring that nobody runs, and ends it, before a fork.

        Otherwise a parent that waits for its child would still be the one whom the kernel wakes
        for a connection that both listen for. What arrives on the way is kept.
        """
        cdef Core *core = self.core
        if core.kind != RING_CORE or self.forever or self._closed or core.pid != os_getpid():
            return 0
        if core.thread != PyThread_get_thread_ident():
            return 0
        core.quiet = True
        try:
            self.flush()
            self.cancel_everything()
            self.drain(False)
            self.reset_core(False)
        finally:
            core.quiet = False
        return 0

    cdef int cancel_everything(self) except -1:
        cdef Core *core = self.core
        cdef ring_sqe *sqe
        self.scan_sends()
        ring_enter(&core.ring, 0, 0)
        sqe = ring_entry(self)
        sqe.opcode = RING_OP_ASYNC_CANCEL
        sqe.fd = -1
        sqe.op_flags = RING_CANCEL_ANY | RING_CANCEL_ALL
        return 0

    cdef int drain(self, bint closing) except -1:
        """Takes what the ring still has to tell, after `cancel_everything`. Ends when there is
        nothing, also where the kernel refuses again and again."""
        cdef Core *core = self.core
        cdef int rounds, refused = 0
        for rounds in range(100):
            if ring_enter(&core.ring, 0, 0) < 0:
                refused += 1
                if refused == 10 and not ring_ready(&core.ring):
                    break
            elif not ring_ready(&core.ring):
                break
            if not closing:
                self.reap()
                continue
            while ring_ready(&core.ring):
                release_at_close(self, ring_peek(&core.ring, 0))
                ring_advance(&core.ring)
        return 0

    cdef int register(self, object what, int fd) except -1:
        cdef Core *core = self.core
        cdef Py_ssize_t size = core.table_size
        cdef PyObject **table
        if fd >= size:
            size = max(64, size * 2, fd + 1)
            table = <PyObject **>realloc(core.table, size * sizeof(PyObject *))
            if table == NULL:
                raise MemoryError
            memset(table + core.table_size, 0, (size - core.table_size) * sizeof(PyObject *))
            core.table = table
            core.table_size = size
        if core.table[fd] != NULL:
            raise RuntimeError(
                f"descriptor {fd} already belongs to {<object>core.table[fd]!r}; "
                "it was closed without that one, or given to the loop twice"
            )
        core.streams += 1
        if not self.make_room() or not make_past_room(core):
            core.streams -= 1
            raise MemoryError
        Py_INCREF(what)
        core.table[fd] = <PyObject *>what
        return 0

    cdef int unregister(self, int fd) except -1:
        cdef Core *core = self.core
        core.past[core.past_count] = core.table[fd]     # `register` made room for it
        core.past_count += 1
        core.table[fd] = NULL
        core.streams -= 1
        return 0

    cdef int bury(self) except -1:
        """A turn begins: no event of the one before can name these any more."""
        cdef Core *core = self.core
        cdef size_t count = core.past_count, i
        cdef PyObject *what
        if core.burying or not count:
            return 0
        # Their end may run anything: what it adds is for the next time.
        core.burying = True
        for i in range(count):
            what = core.past[i]
            core.past[i] = NULL
            if what != NULL:
                Py_DECREF(<object>what)
        core.burying = False
        core.past_count -= count
        if core.past_count:
            memmove(core.past, core.past + count, core.past_count * sizeof(PyObject *))
        return 0

    def _stream_of(self, int fd):
        """The stream or listener that owns a descriptor, or None."""
        if fd < 0 or fd >= self.core.table_size or self.core.table[fd] == NULL:
            return None
        return <object>self.core.table[fd]

    def _streams(self):
        """All streams and listeners, those that are closing included."""
        cdef Py_ssize_t i
        return [<object>self.core.table[i] for i in range(self.core.table_size)
                if self.core.table[i] != NULL]

    @property
    def backend(self):
        """"io_uring" or "epoll"; None before the loop ran for the first time."""
        if self.core.kind == NO_CORE:
            return None
        return "io_uring" if self.core.kind == RING_CORE else "epoll"

    @property
    def backend_reason(self):
        """Why io_uring is not used although it might have been, or None."""
        return self.reason

    def _set_backend(self, preference):
        self.preference = preference

    def _set_receive_buffers(self, uint32_t count, uint32_t size):
        """Receive buffers of the ring: how many (rounded up to a power of two) and of how many
        bytes. For the ring that is made when the loop runs next."""
        self.recv_buffers = 1
        while self.recv_buffers < count:
            self.recv_buffers *= 2
        self.recv_buffer_size = size

    def _close_core(self):
        """Sends what can be sent, takes back what is armed, forgets the streams."""
        cdef Core *core = self.core
        cdef Py_ssize_t i
        cdef object what
        try:
            if core.kind != NO_CORE and core.pid == os_getpid():
                self.apply_updates()
                self.flush()
                if core.kind == RING_CORE and core.thread == PyThread_get_thread_ident():
                    # Sockets armed on a ring outlive it for a moment: take them back first.
                    self.cancel_everything()
                    self.drain(True)
        finally:
            self._forget_core()

    def _forget_core(self):
        cdef Core *core = self.core
        cdef Py_ssize_t i
        cdef object what
        for i in range(core.table_size):
            if core.table[i] != NULL:
                self.unregister(i)
        while core.todo_at < core.todo_end:
            core.todo_at += 1
            what = <object>core.todo[core.todo_at - 1]
            Py_DECREF(what)
        what = None
        core.todo_at = core.todo_end = core.todo_stop = 0
        self.bury()
        if core.kind == RING_CORE:
            ring_close(&core.ring, core.pid != os_getpid())
        elif core.kind == EPOLL_CORE:
            sys_close(core.epoll)
            core.epoll = -1
        if core.wake >= 0:
            sys_close(core.wake)
            core.wake = -1
        core.kind = NO_CORE

    # ---- sending ---------------------------------------------------------------------------

    cdef int flush(self) except -1:
        """Sends what was written, until nothing is left of it."""
        cdef Core *core = self.core
        while core.arenas[core.current].count:
            if core.sends_unseen:
                self.scan_sends()
                if core.arenas[core.current].count == 0:
                    break
            self.sending = True
            try:
                self.send_spans()
            finally:
                self.sending = False
            # Who is told may write, and would otherwise wait for the next turn.
            self.tell_risen()
        return 0

    cdef int tell_risen(self) except -1:
        """Tells the owners of streams whose backlog rose in the meantime to pause, if they have to:
        what they do then may be anything, so it comes when all is in order again."""
        cdef list risen
        cdef object stream
        while PyList_GET_SIZE(self.risen):
            risen, self.risen = self.risen, []
            for stream in risen:
                (<Stream>stream).check_high()
        return 0

    cdef int send_spans(self) except -1:
        """Turns this turn's spans into sends: one for each stream."""
        cdef Core *core = self.core
        cdef Arena *arena = &core.arenas[core.current]
        cdef Span *span
        cdef Span *part
        cdef Stream stream
        cdef uint32_t i, j, total
        cdef ring_sqe *sqe
        cdef ssize_t n
        for i in range(arena.count):
            span = &arena.spans[i]
            if span.stream == NULL:
                continue
            stream = <Stream><object>span.stream
            if stream.first_span != i + 1:
                continue
            if span.next:
                # Other streams wrote in between: join the parts.
                total = <uint32_t>stream.queued
                if stream.outbox == NULL and arena.used + total <= ARENA_SIZE + ARENA_SLACK:
                    j = i + 1
                    n = arena.used
                    while j:
                        part = &arena.spans[j - 1]
                        memcpy(arena.memory + arena.used, arena.memory + part.at, part.size)
                        arena.used += part.size
                        j = part.next
                        part.stream = NULL
                    span.stream = <PyObject *>stream
                    span.at = <uint32_t>n
                    span.size = total
                    span.next = 0
            stream.first_span = stream.last_span = 0
            stream.queued = 0
            if stream.closing or stream.flags & (S_WANTS_DRAIN | S_WEOF):
                stream.schedule_update()
            if stream.outbox != NULL or span.next:
                j = i + 1
                while j:
                    part = &arena.spans[j - 1]
                    stream.queue_unsent(arena.memory + part.at, part.size, None)
                    j = part.next
                    part.stream = NULL
                continue
            if core.kind == RING_CORE:
                sqe = ring_sqe_get(&core.ring)
                if sqe == NULL:
                    ring_enter(&core.ring, 0, 0)
                    sqe = ring_sqe_get(&core.ring)
                    if sqe == NULL:
                        stream.queue_unsent(arena.memory + span.at, span.size, None)
                        span.stream = NULL
                        continue
                sqe.opcode = RING_OP_SEND
                sqe.flags = RING_SQE_CQE_SKIP_SUCCESS
                sqe.fd = stream.fd
                sqe.addr = <uint64_t><uintptr_t>(arena.memory + span.at)
                sqe.len = span.size
                sqe.op_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL
                sqe.user_data = (<uint64_t>i << 4) | (core.current << 3) | TAG_SEND
                stream.backlog -= span.size
            else:
                n = sys_send(stream.fd, arena.memory + span.at, span.size,
                             MSG_DONTWAIT | MSG_NOSIGNAL)
                if n < 0:
                    if errno != EAGAIN and errno != EINTR:
                        span.stream = NULL
                        stream.fail(errno)
                        continue
                    n = 0
                stream.backlog -= n
                if n < span.size:
                    stream.queue_unsent(arena.memory + span.at + n, span.size - n, None)
                span.stream = NULL
        if core.kind == RING_CORE:
            core.sends_unseen = True
            core.current ^= 1
        arena = &core.arenas[core.current]
        arena.used = 0
        arena.count = 0
        return 0

    cdef int send_now(self) except -1:
        """What was written in this turn leaves before work that takes long."""
        if self.core.arenas[self.core.current].count:
            self.spill()
        return 0

    cdef int spill(self) except -1:
        """The arena is full in the middle of a turn: send now, and look what was not taken."""
        self.flush()
        if self.core.kind == RING_CORE:
            ring_enter(&self.core.ring, 0, 0)
            self.scan_sends()
        return 0

    cdef int scan_sends(self) except -1:
        """Looks at the completions of sends before their turn, so that the rest of a short one is
        queued before anything newer. Completions of sends are visible when enter returns."""
        self.sending = True
        try:
            self.look_at_sends()
        finally:
            self.sending = False
        return self.tell_risen()

    cdef int look_at_sends(self) except -1:
        cdef Core *core = self.core
        cdef ring_cqe *cqe
        cdef uint32_t i
        cdef size_t k
        core.sends_unseen = False
        if core.kind != RING_CORE:
            return 0
        if ring_unsubmitted(&core.ring):
            ring_enter(&core.ring, 0, 0)
            if ring_unsubmitted(&core.ring):
                self.take_back_sends()
        for k in range(core.stash_next, core.stash_count):
            if core.stash[k].user_data & TAG_MASK == TAG_SEND:
                self.on_sent(core.stash[k].user_data, core.stash[k].res)
                core.stash[k].user_data = TAG_NONE
        while True:
            for i in range(ring_ready(&core.ring)):
                cqe = ring_peek(&core.ring, i)
                if cqe.user_data & TAG_MASK == TAG_SEND:
                    self.on_sent(cqe.user_data, cqe.res)
                    cqe.user_data = TAG_NONE
            if not ring_owes(&core.ring) or not overflown(&core.ring):
                return 0
            if not self.stash_ready() or ring_enter(&core.ring, 0, 0) < 0:
                return self.fail_unseen()

    cdef int take_back_sends(self) except -1:
        """The kernel took no submissions (EAGAIN, EBUSY: it has no memory): the sends among them
        are undone, so that nothing names an arena that is about to be filled again."""
        cdef Core *core = self.core
        cdef ring_sqe *sqe
        cdef uint32_t i
        cdef uint64_t tag
        for i in range(ring_unsubmitted(&core.ring)):
            sqe = ring_unsubmitted_sqe(&core.ring, i)
            tag = sqe.user_data
            if tag & TAG_MASK == TAG_SEND:
                forget_entry(sqe)
                self.on_sent(tag, -EAGAIN)
        return 0

    cdef int withdraw(self, object what) except -1:
        """The kernel did not take what was to be submitted, and `what` closes its descriptor now:
        no entry may name it later, when another owner may have the number."""
        cdef Core *core = self.core
        cdef ring_sqe *sqe
        cdef uint32_t i
        cdef int kind
        for i in range(ring_unsubmitted(&core.ring)):
            sqe = ring_unsubmitted_sqe(&core.ring, i)
            kind = sqe.user_data & TAG_MASK
            if kind in (TAG_RECV, TAG_OUTBOX, TAG_ACCEPT, TAG_WATCH) and \
                    sqe.user_data & ~<uint64_t>TAG_MASK == <uint64_t><uintptr_t><PyObject *>what:
                forget_entry(sqe)
                if isinstance(what, Stream):
                    (<Stream>what).pending -= 1
                else:
                    (<Listener>what).pending -= 1
        return 0

    cdef int fail_unseen(self) except -1:
        """Completions cannot be looked at: how much was sent is not known for whom they are."""
        cdef Arena *arena = &self.core.arenas[self.core.current ^ 1]
        cdef Stream stream
        cdef uint32_t i
        for i in range(arena.count):
            if arena.spans[i].stream != NULL:
                stream = <Stream><object>arena.spans[i].stream
                arena.spans[i].stream = NULL
                stream.fail(ENOMEM)
        return 0

    cdef int stash_ready(self) except -1:
        """The queue overflowed: makes room in it without handing anything out yet. 0 when there is
        no memory for it."""
        cdef Core *core = self.core
        cdef size_t n = ring_ready(&core.ring), room
        cdef ring_cqe *stash
        if core.stash_count + n > core.stash_room:
            room = (core.stash_count + n) * 2
            stash = <ring_cqe *>realloc(core.stash, room * sizeof(ring_cqe))
            if stash == NULL:
                return 0
            core.stash = stash
            core.stash_room = room
        while n:
            n -= 1
            core.stash[core.stash_count] = ring_peek(&core.ring, 0)[0]
            core.stash_count += 1
            ring_advance(&core.ring)
        return 1

    cdef int on_sent(self, uint64_t tag, int res) except -1:
        cdef Arena *arena = &self.core.arenas[(tag >> 3) & 1]
        cdef Span *span = &arena.spans[tag >> 4]
        cdef Stream stream
        if span.stream == NULL:
            return 0
        stream = <Stream><object>span.stream
        span.stream = NULL
        if res < 0:
            if res != -EAGAIN and res != -EINTR:
                return stream.fail(-res)
            res = 0
        if <uint32_t>res < span.size and not stream.flags & S_ABORT:
            stream.backlog += span.size - res
            stream.queue_unsent(arena.memory + span.at + res, span.size - res, None)
        return 0

    # ---- waiting on the ring ---------------------------------------------------------------

    cdef int wait_ring(self, bint wait, double timeout) except -1:
        cdef Core *core = self.core
        cdef ring *r = &core.ring
        cdef ring_sqe *sqe
        cdef int res
        cdef int64_t ns = -1
        if not core.poll_armed:
            sqe = ring_sqe_get(r)
            if sqe != NULL:
                sqe.opcode = RING_OP_POLL_ADD
                sqe.fd = self._selector.fileno()
                sqe.op_flags = EPOLLIN
                sqe.user_data = TAG_POLL
                core.poll_armed = True
        if not core.wake_armed and core.wake >= 0:
            sqe = ring_sqe_get(r)
            if sqe != NULL:
                # Multishot: a completion for every write, and nobody has to read.
                sqe.opcode = RING_OP_POLL_ADD
                sqe.fd = core.wake
                sqe.len = RING_POLL_MULTISHOT
                sqe.op_flags = EPOLLIN
                sqe.user_data = TAG_WAKE
                core.wake_armed = True
        if core.stash_next < core.stash_count or ring_ready(r):
            wait = False
        if not wait and not ring_unsubmitted(r) and not ring_owes(r):
            return 0        # nothing to submit, nothing completed: no system call
        if wait and timeout >= 0:
            ns = <int64_t>(timeout * 1e9) + 1
        self.waiting = wait
        with nogil:
            res = ring_enter(r, wait, ns)
        self.waiting = False
        self.woken = False
        if res == -EINTR:
            PyErr_CheckSignals()
        elif res < 0 and res != -ETIME and res != -EAGAIN and res != -EBUSY and res != -ENOMEM:
            raise OSError(-res, f"io_uring_enter: {os.strerror(-res)}")
        return 0

    cdef int reap(self) except -1:
        """Hands out all completions that there are."""
        cdef Core *core = self.core
        self.now = ember_clock()
        core.at = NULL
        while core.kind == RING_CORE:
            try:
                self.hand_out()
                return 0
            except BaseException:
                # It ends the stream that it happened to, and no other.
                self.guard(None if core.at == NULL else <object>core.at,
                           "an event could not be handed out")
        return 0

    cdef int hand_out(self) except -1:
        cdef Core *core = self.core
        cdef ring_cqe cqe
        while True:
            while core.stash_next < core.stash_count:
                cqe = core.stash[core.stash_next]
                core.stash_next += 1
                self.complete(cqe.user_data, cqe.res, cqe.flags)
            if core.kind != RING_CORE:
                return 0        # a callback forked, and this is the child
            core.stash_next = core.stash_count = 0
            while ring_ready(&core.ring):
                cqe = ring_peek(&core.ring, 0)[0]
                ring_advance(&core.ring)
                self.complete(cqe.user_data, cqe.res, cqe.flags)
                if core.kind != RING_CORE:
                    return 0
                if core.stash_count:
                    break
            if core.stash_count:
                continue
            if not overflown(&core.ring):
                break
            if ring_enter(&core.ring, 0, 0) < 0 and not ring_ready(&core.ring):
                break
        # What the kernel did not take, or cannot tell yet, is still to be looked at.
        core.sends_unseen = ring_unsubmitted(&core.ring) != 0 or overflown(&core.ring)
        return 0

    cdef int complete(self, uint64_t tag, int res, uint32_t flags) except -1:
        cdef int kind = tag & TAG_MASK
        cdef PyObject *named = <PyObject *><uintptr_t>(tag & ~<uint64_t>TAG_MASK)
        cdef object what
        self.core.at = NULL
        if kind in (TAG_RECV, TAG_OUTBOX, TAG_ACCEPT, TAG_WATCH):
            self.core.at = named
        if kind == TAG_RECV:
            what = <object>named
            received_by_ring(self, <Stream>what, res, flags)
        elif kind == TAG_SEND:
            self.on_sent(tag, res)
        elif kind == TAG_OUTBOX:
            what = <object>named
            outbox_sent_by_ring(<Stream>what, res)
        elif kind == TAG_ACCEPT:
            what = <object>named
            accepted_by_ring(<Listener>what, res, flags)
        elif kind == TAG_WATCH:
            what = <object>named
            watched_by_ring(<Stream>what, res, flags)
        elif kind == TAG_POLL:
            self.core.poll_armed = False
            self.core.selector_ready = True
        elif kind == TAG_WAKE and not flags & RING_CQE_F_MORE:
            self.core.wake_armed = False
        return 0

    # ---- waiting on epoll ------------------------------------------------------------------

    cdef int wait_epoll(self, bint wait, double timeout) except -1:
        cdef Core *core = self.core
        cdef int n, i
        cdef int64_t ns = 0
        if wait:
            ns = -1 if timeout < 0 else <int64_t>(timeout * 1e9) + 1
        self.waiting = wait
        with nogil:
            n = ember_epoll_wait(core.epoll, core.events, MAX_EVENTS, ns)
        self.waiting = False
        self.woken = False
        if n < 0:
            if errno != EINTR:
                raise OSError(errno, f"epoll_wait: {os.strerror(errno)}")
            PyErr_CheckSignals()
            return 0
        self.now = ember_clock()
        i = 0
        while i < n:
            try:
                i = self.hand_out_events(i, n)
            except BaseException:
                # It ends the stream that it happened to; the others get theirs.
                i = core.next_event
                self.guard(None if core.at == NULL else <object>core.at,
                           "an event could not be handed out")
        return 0

    cdef int hand_out_events(self, int i, int n) except -1:
        cdef Core *core = self.core
        cdef object what
        # Each names what lives until the next turn begins, whatever the callbacks before it did.
        while i < n:
            if core.kind != EPOLL_CORE:
                return n        # a callback forked, and this is the child
            core.at = <PyObject *>core.events[i].data_ptr
            core.next_event = i + 1
            if core.at == NULL:
                core.selector_ready = True
            elif core.at == <PyObject *>core:
                core.at = NULL  # it was to wake, and it did
            else:
                what = <object>core.at
                if isinstance(what, Stream):
                    ready_on_epoll(self, <Stream>what, core.events[i].events)
                else:
                    accept_on_epoll(<Listener>what)
            i += 1
        return n

    # ---- failures --------------------------------------------------------------------------

    cdef int guard(self, object what, str message) except -1:
        """Reports the exception that is being handled; those that end a program go through."""
        error = sys.exc_info()[1]
        # Ended first: reporting may fail, and a stream that goes on without its owner crashes.
        if isinstance(what, Stream):
            (<Stream>what).abort(error)
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise error
        self.call_exception_handler({"message": message, "exception": error, "stream": what})
        return 0


cdef class ReadyView(list):
    """A copy of the ready queue whose changes reach the queue."""
    cdef CoreLoop loop

    def __init__(self, CoreLoop loop, items):
        super().__init__(items)
        self.loop = loop

    def append(self, what):
        super().append(what)
        self.loop.push_ready(what)

    def clear(self):
        super().clear()
        self.loop._clear_ready()


cdef bint make_past_room(Core *core) noexcept:
    """Room for everything that is registered to be unregistered in one turn."""
    cdef size_t room = core.past_count + <size_t>core.streams
    cdef PyObject **past
    if room > core.past_room:
        room += room // 2 + 64
        past = <PyObject **>realloc(core.past, room * sizeof(PyObject *))
        if past == NULL:
            return False
        core.past = past
        core.past_room = room
    return True


cdef inline int fill_handle(Handle handle, CoreLoop loop, callback, tuple args, context) except -1:
    handle._callback = callback
    handle._args = args if args else None
    handle._loop = loop
    handle._context = PyContext_CopyCurrent() if context is None else context
    if loop._debug:
        handle._source_traceback = loop._creation_stack()
    return 0


cdef inline Handle make_handle(CoreLoop loop, callback, tuple args, context):
    cdef Handle handle = Handle.__new__(Handle)
    fill_handle(handle, loop, callback, args, context)
    return handle


cdef extern from "<unistd.h>" nogil:
    long os_getpid "getpid"()


cdef extern from *:
    """
    static int ember_overflown(struct ring *r)
    {
        return (ring_load(r->sq_flags) & RING_SQ_CQ_OVERFLOW) != 0;
    }
    """
    int overflown "ember_overflown"(ring *) nogil
