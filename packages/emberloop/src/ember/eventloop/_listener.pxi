# Listener: accepts connections and makes streams of them.

cdef enum ListenerFlag:
    L_WANT = 1 << 0
    L_ARMED = 1 << 1
    L_CANCEL = 1 << 2
    L_TODO = 1 << 3
    L_EPOLL = 1 << 4
    L_STARTED = 1 << 5
    L_HELD = 1 << 6         # the registry's reference is kept until the last completion
    L_EXHAUSTED = 1 << 7    # the owner was told that there is no descriptor left
    L_RESTS = 1 << 8        # not accepting for a moment because of that, whatever the owner wants

# Errors of accept that are of one connection (accept(2)), or of none; after any other the next
# accept would most likely fail as well: no descriptors or memory, or a listener that is no more.
cdef frozenset ONE_CONNECTION = frozenset((
    -EAGAIN, -EINTR, -ECANCELED, -ECONNABORTED, -EPROTO, -EPERM, -ENETDOWN, -ENOPROTOOPT,
    -EHOSTDOWN, -ENONET, -EHOSTUNREACH, -EOPNOTSUPP, -ENETUNREACH,
))

#: Seconds without accepting after the process ran out of descriptors.
ACCEPT_RETRY_DELAY = 1.0


cdef class Listener:
    def __cinit__(self, CoreLoop loop, sock, *args, **kwargs):
        self.loop = loop
        self.sock = sock
        self.fd = sock.fileno()

    cdef Stream make_stream(self):
        raise NotImplementedError

    cdef int adopt(self, int fd) except -1:
        cdef Stream stream
        try:
            stream = self.make_stream()
            stream.attach(self.loop, fd)
        except BaseException:
            sys_close(fd)
            raise
        try:
            stream.flags |= S_WANT_READ
            stream.schedule_update()
            stream.on_connect()
        except BaseException:
            # It has no owner that could end it.
            self.loop.guard(stream, "a new connection could not be set up")
        return 0

    cdef int start(self) except -1:
        if self.closed:
            raise RuntimeError("this listener is closed")
        if not self.flags & L_STARTED:
            self.loop.register(self, self.fd)
            self.flags |= L_STARTED
        self.flags |= L_WANT
        return self.schedule_update()

    cdef int pause(self) except -1:
        self.flags &= ~<uint32_t>L_WANT
        return self.schedule_update()

    cdef int look(self) except -1:
        """Takes what waits although this process was not told of it."""
        cdef int fd
        while self.flags & (L_WANT | L_RESTS) == L_WANT and not self.closed:
            fd = ember_accept(self.fd)
            if fd < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.accepted(-errno)
                return 0
            self.accepted(fd)
        return 0

    cdef int schedule_update(self) except -1:
        if not self.flags & L_TODO and self.loop.ask(<PyObject *>self):
            self.flags |= L_TODO
        return 0

    cdef int apply_updates(self) except -1:
        cdef Core *core = self.loop.core
        cdef ring_sqe *sqe
        cdef uint32_t events
        cdef bint wanted = self.flags & (L_WANT | L_RESTS) == L_WANT and not self.closed
        self.flags &= ~<uint32_t>L_TODO
        if self.early is not None:
            early, self.early = self.early, None
            for fd in early:
                self.accepted(fd)
        if core.kind == RING_CORE:
            if wanted and not self.flags & L_ARMED:
                sqe = ring_entry(self.loop)
                sqe.opcode = RING_OP_ACCEPT
                # One at a time where processes share the socket: who has accepted goes to the end
                # of the queue of those who wait, and a burst goes round.
                sqe.ioprio = 0 if self.shared else RING_ACCEPT_MULTISHOT
                sqe.fd = self.fd
                sqe.op_flags = SOCK_NONBLOCK | SOCK_CLOEXEC
                sqe.user_data = <uint64_t><uintptr_t><PyObject *>self | TAG_ACCEPT
                self.flags |= L_ARMED
                self.pending += 1
            elif not wanted and self.flags & (L_ARMED | L_CANCEL) == L_ARMED:
                self.flags |= L_CANCEL
                cancel_entry(self.loop, <PyObject *>self, TAG_ACCEPT)
        elif core.kind == EPOLL_CORE:
            if wanted and not self.flags & L_EPOLL:
                events = EPOLLIN | EPOLLEXCLUSIVE if self.shared else EPOLLIN
                if ember_epoll_set(core.epoll, EPOLL_CTL_ADD, self.fd, events, <void *>self) < 0:
                    return self.accepted(-errno)
                self.flags |= L_EPOLL
            elif not wanted and self.flags & L_EPOLL:
                ember_epoll_set(core.epoll, EPOLL_CTL_DEL, self.fd, 0, NULL)
                self.flags &= ~<uint32_t>L_EPOLL
        return 0

    cdef int close(self) except -1:
        """Stops accepting. The port is free once the owner closed the socket."""
        cdef Core *core = self.loop.core
        if self.closed:
            return 0
        self.closed = True
        self.flags &= ~<uint32_t>L_WANT
        if self.early is not None:
            early, self.early = self.early, None
            for fd in early:
                sys_close(fd)
        if not self.flags & L_STARTED:
            return 0
        if core.kind != NO_CORE:
            self.apply_updates()
        if core.kind == RING_CORE and self.pending:
            # The ring holds the socket until the cancelled accept has completed.
            Py_INCREF(self)
            self.flags |= L_HELD
            if core.thread == PyThread_get_thread_ident():
                ring_enter(&core.ring, 0, 0)
                if ring_unsubmitted(&core.ring):
                    self.loop.withdraw(self)
                    if not self.pending:
                        self.flags &= ~<uint32_t>L_HELD
                        Py_DECREF(self)
        self.loop.unregister(self.fd)
        return 0

    cdef int accepted(self, int result) except -1:
        """One result of accept: a descriptor, or -errno."""
        if result >= 0:
            if self.closed:
                sys_close(result)
                return 0
            if self.loop.core.quiet:
                try:
                    if self.early is None:
                        self.early = []
                    self.early.append(result)
                except MemoryError:
                    sys_close(result)
                return self.schedule_update()
            self.flags &= ~<uint32_t>L_EXHAUSTED
            try:
                self.adopt(result)
            except BaseException:
                self.loop.guard(self, "a new connection could not be set up")
            return 0
        if result not in ONE_CONNECTION:
            # The socket stays readable: give the process time to close something.
            if not self.closed and not self.flags & L_RESTS:
                self.schedule_update()
                self.loop.call_later(ACCEPT_RETRY_DELAY, self._retry)
                self.flags |= L_RESTS
                if not self.flags & L_EXHAUSTED:
                    self.flags |= L_EXHAUSTED
                    self.exhausted(-result)
        return 0

    cdef int exhausted(self, int error) except -1:
        self.loop.call_exception_handler({
            "message": "socket.accept() out of system resource",
            "exception": OSError(error, os.strerror(error)),
            "socket": self.sock,
        })
        return 0

    def _retry(self):
        self.flags &= ~<uint32_t>L_RESTS
        if not self.closed:
            self.schedule_update()


cdef int accepted_by_ring(Listener listener, int res, uint32_t flags) except -1:
    cdef bint held
    if not flags & RING_CQE_F_MORE:
        listener.flags &= ~<uint32_t>(L_ARMED | L_CANCEL)
        listener.pending -= 1
        if not listener.closed:
            listener.schedule_update()
    held = listener.flags & L_HELD and listener.pending == 0
    try:
        listener.accepted(res)
    finally:
        if held:
            listener.flags &= ~<uint32_t>L_HELD
            Py_DECREF(listener)
    return 0


cdef int accept_on_epoll(Listener listener) except -1:
    cdef int i, fd
    for i in range(ACCEPTS_PER_TURN):
        if listener.flags & (L_WANT | L_RESTS) != L_WANT:
            return 0
        fd = ember_accept(listener.fd)
        if fd < 0:
            if errno != EAGAIN and errno != EINTR:
                listener.accepted(-errno)
            return 0
        listener.accepted(fd)
        if listener.shared and listener.flags & L_EPOLL:
            # To the end of the queue of the processes that wait for this socket.
            ember_epoll_set(listener.loop.core.epoll, EPOLL_CTL_DEL, listener.fd, 0, NULL)
            listener.flags &= ~<uint32_t>L_EPOLL
            return listener.schedule_update()
    return 0


cdef int forget_listener(Listener listener) except -1:
    listener.flags &= ~<uint32_t>(L_ARMED | L_CANCEL | L_EPOLL)
    listener.pending = 0
    if not listener.closed:
        listener.schedule_update()
    return 0
