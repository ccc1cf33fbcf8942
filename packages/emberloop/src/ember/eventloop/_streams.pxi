# Stream: one connected socket. Its state changes are only noted when they are asked for;
# `apply_updates` carries them out at the start of the next turn.

cdef object error_of(int number):
    """What a system call that failed with this errno raises; never raises itself."""
    try:
        return OSError(number, os.strerror(number))
    except MemoryError as nothing:
        return nothing


cdef class Stream:
    def __cinit__(self):
        self.fd = -1
        self.high = 65536
        self.low = 16384

    def __dealloc__(self):
        free_outbox(self)
        if self.fd >= 0 and self.flags & (S_ATTACHED | S_BORROWED) == S_ATTACHED:
            sys_close(self.fd)

    # ---- for subclasses --------------------------------------------------------------------

    cdef int on_connect(self) except -1:
        return 0

    cdef int on_data(self, char *data, Py_ssize_t size) except -1:
        return 0

    cdef int on_eof(self) except -1:
        return self.close()

    cdef int on_hangup(self) except -1:
        return 0

    cdef int on_lost(self, object error) except -1:
        return 0

    cdef int on_pause_writing(self) except -1:
        return 0

    cdef int on_resume_writing(self) except -1:
        return 0

    cdef int on_drained(self) except -1:
        return 0

    cdef int on_flushed(self) except -1:
        return 0

    cdef int on_file_failed(self, object error) except -1:
        return self.abort(error)

    cdef int release(self) except -1:
        cdef int fd = self.fd
        self.fd = -1
        if not self.flags & S_BORROWED:
            sys_close(fd)
        return 0

    # ---- for the owner ---------------------------------------------------------------------

    cdef int attach(self, CoreLoop loop, int fd) except -1:
        loop.register(self, fd)
        self.loop = loop
        self.fd = fd
        self.flags |= S_ATTACHED
        return 0

    cdef char *reserve(self, Py_ssize_t size) except NULL:
        cdef Core *core = self.loop.core
        cdef Arena *arena = &core.arenas[core.current]
        while arena.used + size > ARENA_SIZE:
            self.loop.spill()
            arena = &core.arenas[core.current]
        return arena.memory + arena.used

    cdef int commit(self, Py_ssize_t size) except -1:
        cdef Core *core = self.loop.core
        cdef Arena *arena = &core.arenas[core.current]
        cdef Span *span
        cdef Span *spans
        cdef uint32_t room
        if size <= 0 or not self.takes_writes():
            return 0
        if self.last_span != 0 and self.last_span == arena.count:
            arena.spans[self.last_span - 1].size += <uint32_t>size
        else:
            if arena.count == arena.room:
                room = arena.room * 2 if arena.room else 64
                spans = <Span *>realloc(arena.spans, room * sizeof(Span))
                if spans == NULL:
                    raise MemoryError
                arena.spans = spans
                arena.room = room
            span = &arena.spans[arena.count]
            arena.count += 1
            span.stream = <PyObject *>self
            span.at = arena.used
            span.size = <uint32_t>size
            span.next = 0
            if self.last_span:
                arena.spans[self.last_span - 1].next = arena.count
            else:
                self.first_span = arena.count
            self.last_span = arena.count
        arena.used += <uint32_t>size
        self.queued += size
        self.backlog += size
        if self.queued >= PUSH_AT:
            self.push(NULL, 0, None)
        return 0

    cdef int write(self, const char *data, Py_ssize_t size) except -1:
        cdef char *room
        if size >= BY_REFERENCE:
            return self.push(data, size, None)
        while size > STREAM_RESERVE_MAX:
            room = self.reserve(STREAM_RESERVE_MAX)
            memcpy(room, data, STREAM_RESERVE_MAX)
            self.commit(STREAM_RESERVE_MAX)
            data += STREAM_RESERVE_MAX
            size -= STREAM_RESERVE_MAX
        if size > 0:
            room = self.reserve(size)
            memcpy(room, data, size)
            self.commit(size)
        return 0

    cdef int write_object(self, object data) except -1:
        cdef Py_buffer view
        if type(data) is bytes:
            if PyBytes_GET_SIZE(data) >= BY_REFERENCE:
                return self.push(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data)
            return self.write(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        # Others may change after the call: what is not sent at once is copied.
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.write(<const char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef int send_now(self, object data, bint later) except -1:
        return send_now(self, data, later)

    cdef int uncork(self) except -1:
        if self.flags & S_CORKED:
            self.flags &= ~<uint32_t>S_CORKED
            if self.outbox != NULL and not self.flags & (S_ABORT | S_OUT):
                send_outbox_by_call(self, True)
        return 0

    cdef int write_file(self, object owner, int fd, int64_t offset, Py_ssize_t size) except -1:
        return write_file(self, owner, fd, offset, size)

    cdef int watch_peer(self) noexcept:
        self.flags |= S_WATCHES
        return 0

    cdef int pause_reading(self) except -1:
        if self.flags & S_WANT_READ:
            self.flags &= ~<uint32_t>S_WANT_READ
            self.schedule_update()
        return 0

    cdef int resume_reading(self) except -1:
        cdef char byte
        if not self.closing and not self.flags & S_WANT_READ:
            self.flags |= S_WANT_READ
            if self.flags & (S_EOF | S_EOF_HELD) == S_EOF:
                # Nothing more comes but a reset, which a reader would find now.
                if sys_recv(self.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 \
                        and errno != EAGAIN and errno != EINTR:
                    return fail_after_reading(self, errno)
            self.schedule_update()
        return 0

    cdef bint is_reading(self) noexcept:
        return not self.closing and self.flags & S_WANT_READ != 0

    cdef int write_eof(self) except -1:
        if self.closing or self.flags & S_WEOF:
            return 0
        self.flags |= S_WEOF
        # A borrowed socket's sends are never in spans: none can be unseen.
        if self.first_span == 0 and self.outbox == NULL and (
            self.flags & S_BORROWED or not self.loop.core.sends_unseen
        ):
            self.flags |= S_WEOF_DONE
            if sys_shutdown(self.fd, SHUT_WR) < 0 and self.flags & S_BORROWED:
                # As from the method of the socket, which asyncio calls.
                raise OSError(errno, os.strerror(errno))
        else:
            self.schedule_update()
        return 0

    cdef int close(self) except -1:
        if self.closing or not self.flags & S_ATTACHED:
            return 0
        self.closing = True
        self.flags &= ~<uint32_t>S_WANT_READ
        if self.outbox != NULL or self.first_span:
            self.flags |= S_DRAINING
        return self.schedule_update()

    cdef int abort(self, object error) except -1:
        if self.flags & (S_ABORT | S_LOST) or not self.flags & S_ATTACHED:
            return 0
        self.closing = True
        self.flags = (self.flags | S_ABORT) & ~<uint32_t>S_WANT_READ
        self.error = error
        self.drop_spans()
        self.drop_outbox()
        return self.schedule_update()

    cdef int borrow(self, CoreLoop loop, int fd) except -1:
        self.attach(loop, fd)
        self.flags |= S_BORROWED
        return 0

    cdef bint takes_writes(self) noexcept:
        if self.flags & (S_ABORT | S_LOST | S_WEOF):
            return False
        return not self.closing or self.flags & S_DRAINING != 0

    cdef bint is_paused(self) noexcept:
        return self.flags & S_PAUSED != 0

    cdef int detach(self) except -1:
        """Takes back at once what is armed, so that the owner can close the descriptor now."""
        cdef Core *core = self.loop.core
        if self.flags & S_LOST or not self.flags & S_ATTACHED:
            return 0
        self.closing = True
        self.flags = (self.flags | S_ABORT | S_LOST) & ~<uint32_t>S_WANT_READ
        self.drop_spans()
        self.drop_outbox()
        self.inbox = None
        if core.kind == EPOLL_CORE and self.flags & S_EPOLL_ANY:
            ember_epoll_set(core.epoll, EPOLL_CTL_DEL, self.fd, 0, NULL)
        elif core.kind == RING_CORE and (self.pending or core.sends_unseen):
            if self.flags & S_ARMED:
                cancel_entry(self.loop, <PyObject *>self, TAG_RECV)
            if self.flags & S_OUT:
                cancel_entry(self.loop, <PyObject *>self, TAG_OUTBOX)
            if self.flags & S_WATCHED:
                cancel_entry(self.loop, <PyObject *>self, TAG_WATCH)
            if core.thread == PyThread_get_thread_ident():
                ring_enter(&core.ring, 0, 0)
                if ring_unsubmitted(&core.ring):
                    self.loop.withdraw(self)
            if self.pending:
                # Completions that name this stream are still to be read.
                self.flags |= S_HELD
                Py_INCREF(self)
            if core.sends_unseen:
                self.loop.scan_sends()
        self.loop.unregister(self.fd)
        return self.release()

    cdef int tell_drained(self) except -1:
        self.flags |= S_WANTS_DRAIN
        return self.schedule_update()

    # ---- state changes ---------------------------------------------------------------------

    cdef int schedule_update(self) except -1:
        if not self.flags & S_TODO and self.loop.ask(<PyObject *>self):
            self.flags |= S_TODO
        return 0

    cdef int apply_updates(self) except -1:
        cdef ring_sqe *sqe
        cdef bint reading
        self.flags &= ~<uint32_t>S_TODO
        if self.flags & S_LOST or self.loop.core.kind == NO_CORE:
            return 0
        if self.flags & (S_OUT_FAILED | S_ABORT) == S_OUT_FAILED and not self.begins:
            self.read_last()
            self.abort(self.error)
        self.uncork()
        if self.flags & S_RESUMES:
            self.flags &= ~<uint32_t>S_RESUMES
            self.check_low()
        reading = self.flags & S_WANT_READ and not self.closing
        if reading and (self.inbox is not None or self.flags & S_EOF_HELD):
            self.read_inbox()
            reading = self.flags & S_WANT_READ and not self.closing
        if self.outbox == NULL and self.first_span == 0:
            if self.flags & (S_WEOF | S_WEOF_DONE) == S_WEOF and not self.closing:
                self.flags |= S_WEOF_DONE
                sys_shutdown(self.fd, SHUT_WR)
            if self.flags & S_WANTS_DRAIN:
                self.flags &= ~<uint32_t>S_WANTS_DRAIN
                try:
                    self.on_drained()
                except BaseException:
                    self.loop.guard(self, "on_drained failed")
        if self.flags & S_EOF:
            reading = False
        if self.flags & S_WATCHES and not reading and not self.closing:
            self.look_at_peer()
        if self.loop.core.kind == EPOLL_CORE:
            self.interest()
        else:
            if reading and not self.flags & S_ARMED:
                sqe = ring_entry(self.loop)
                sqe.opcode = RING_OP_RECV
                sqe.flags = RING_SQE_BUFFER_SELECT
                sqe.ioprio = RING_RECV_MULTISHOT
                sqe.fd = self.fd
                sqe.user_data = <uint64_t><uintptr_t><PyObject *>self | TAG_RECV
                self.flags |= S_ARMED
                self.pending += 1
            elif not reading and self.flags & (S_ARMED | S_CANCEL) == S_ARMED:
                self.flags |= S_CANCEL
                cancel_entry(self.loop, <PyObject *>self, TAG_RECV)
            if self.closing and self.flags & (S_WATCHED | S_WATCH_CANCEL) == S_WATCHED:
                self.flags |= S_WATCH_CANCEL
                cancel_entry(self.loop, <PyObject *>self, TAG_WATCH)
            if self.outbox != NULL and not self.flags & (S_OUT | S_ABORT | S_OUT_FAILED):
                send_outbox_on_ring(self)
            elif self.flags & (S_ABORT | S_OUT | S_OUT_CANCEL) == S_ABORT | S_OUT:
                self.flags |= S_OUT_CANCEL
                cancel_entry(self.loop, <PyObject *>self, TAG_OUTBOX)
        if (
            self.closing and self.pending == 0 and self.first_span == 0
            and (self.outbox == NULL or self.flags & S_ABORT)
        ):
            self.finish()
        return 0

    cdef int look_at_peer(self) except -1:
        """Nothing is read, so that the end of the peer has to be looked for."""
        cdef ring_sqe *sqe
        if self.flags & S_GONE:
            return self.fail(ECONNRESET)
        if self.flags & S_EOF_HELD or self.flags & (S_HANGUP | S_EOF) == S_HANGUP:
            if not self.flags & S_HANGUP_TOLD:
                self.flags |= S_HANGUP_TOLD
                try:
                    self.on_hangup()
                except BaseException:
                    self.loop.guard(self, "on_hangup failed")
        if self.loop.core.kind == RING_CORE and not self.flags & S_WATCHED and not self.closing:
            # Multishot and edge-triggered: told of the FIN, and once more of a reset behind it.
            # It stays armed when reading goes on: then recv tells the same.
            sqe = ring_entry(self.loop)
            sqe.opcode = RING_OP_POLL_ADD
            sqe.fd = self.fd
            sqe.len = RING_POLL_MULTISHOT
            sqe.op_flags = EPOLLRDHUP
            sqe.user_data = <uint64_t><uintptr_t><PyObject *>self | TAG_WATCH
            self.flags |= S_WATCHED
            self.pending += 1
        return 0

    cdef int finish(self) except -1:
        cdef Stream alive = self
        cdef int fd = self.fd
        cdef CoreLoop loop = self.loop
        self.flags |= S_LOST
        free_outbox(self)
        self.backlog = 0
        self.inbox = None
        if loop.core.kind == EPOLL_CORE and self.flags & S_EPOLL_ANY:
            ember_epoll_set(loop.core.epoll, EPOLL_CTL_DEL, fd, 0, NULL)
        try:
            self.on_lost(self.error)
        except BaseException:
            loop.guard(self, "on_lost failed")
        finally:
            loop.unregister(fd)
            alive.release()
        return 0

    cdef int interest(self) except -1:
        """epoll: ask for what is wanted now, and only for that."""
        cdef uint32_t now = 0, before = self.flags & S_EPOLL_ANY
        cdef uint32_t events = 0
        cdef int op
        if self.flags & S_WANT_READ and not self.flags & S_EOF and not self.closing:
            now |= S_EPOLL_IN
            events |= EPOLLIN
        elif self.flags & S_WATCHES and not self.closing:
            now |= S_EPOLL_HUP
            if not self.flags & (S_HANGUP | S_EOF):
                now |= S_EPOLL_RDHUP
                events |= EPOLLRDHUP
        if self.outbox != NULL and not self.flags & S_ABORT:
            now |= S_EPOLL_OUT
            events |= EPOLLOUT
        if now == before:
            return 0
        op = EPOLL_CTL_DEL if now == 0 else (EPOLL_CTL_MOD if before else EPOLL_CTL_ADD)
        self.flags = (self.flags & ~<uint32_t>S_EPOLL_ANY) | now
        if ember_epoll_set(self.loop.core.epoll, op, self.fd, events, <void *>self) < 0:
            if errno != ENOENT or op != EPOLL_CTL_DEL:
                return self.fail(errno)
        return 0

    # ---- receiving -------------------------------------------------------------------------

    cdef int received(self, char *data, Py_ssize_t size) except -1:
        if self.closing:
            return 0
        if not self.flags & S_WANT_READ or self.inbox is not None or self.loop.core.quiet:
            # It was under way when reading was paused.
            if self.inbox is None:
                self.inbox = []
                if self.flags & S_WANT_READ:
                    self.schedule_update()
            self.inbox.append(PyBytes_FromStringAndSize(data, size))
            return 0
        try:
            self.on_data(data, size)
        except BaseException:
            self.loop.guard(self, "on_data failed")
        return 0

    cdef int ended(self) except -1:
        self.flags |= S_EOF
        if self.closing:
            return self.schedule_update()
        if self.flags & S_OUT_FAILED and not isinstance(self.error, BrokenPipeError):
            return 0        # the send was told why there is no more: this is not an orderly end
        if not self.flags & S_WANT_READ or self.inbox is not None or self.loop.core.quiet:
            self.flags |= S_EOF_HELD
            return self.schedule_update()
        try:
            self.on_eof()
        except BaseException:
            self.loop.guard(self, "on_eof failed")
        return self.schedule_update()

    cdef int read_inbox(self) except -1:
        cdef list inbox = self.inbox
        cdef bytes data
        while inbox and self.flags & S_WANT_READ and not self.closing:
            data = inbox.pop(0)
            try:
                self.on_data(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            except BaseException:
                self.loop.guard(self, "on_data failed")
        if inbox:
            return 0
        self.inbox = None
        if self.flags & S_EOF_HELD and self.flags & S_WANT_READ and not self.closing:
            self.flags &= ~<uint32_t>S_EOF_HELD
            self.ended()
        return 0

    cdef int read_last(self) except -1:
        """A send failed, and nothing is armed that would bring what the peer had sent before."""
        cdef char data[16384]
        cdef ssize_t n
        cdef int i
        if self.inbox is not None:
            self.read_inbox()
        for i in range(16):
            if not self.flags & S_WANT_READ or self.flags & (S_EOF | S_ARMED) or self.closing:
                return 0
            n = sys_recv(self.fd, data, sizeof(data), MSG_DONTWAIT)
            if n <= 0:
                return 0
            self.received(data, n)
        return 0

    # ---- sending ---------------------------------------------------------------------------

    cdef int push(self, const char *data, Py_ssize_t size, object owner, int more=0) except -1:
        """Sends this turn's spans and `data` now; what the socket does not take is kept. `more`:
        MSG_MORE where something follows that belongs to it."""
        cdef Core *core = self.loop.core
        cdef Arena *arena
        cdef iovec parts[32]
        cdef msghdr message
        cdef int count = 0
        cdef uint32_t j
        cdef ssize_t n = 0
        cdef Py_ssize_t k
        if core.sends_unseen:
            # An earlier send of this stream may have been short.
            self.loop.scan_sends()
        if not self.takes_writes():
            # Nothing new. But what was written before the end was decided goes out before the end.
            size = 0
            if not self.first_span:
                return 0
        arena = &core.arenas[core.current]
        self.backlog += size
        if self.outbox == NULL:
            j = self.first_span
            while j and count < 31:
                parts[count].iov_base = arena.memory + arena.spans[j - 1].at
                parts[count].iov_len = arena.spans[j - 1].size
                count += 1
                j = arena.spans[j - 1].next
            if size and not j:
                parts[count].iov_base = <void *>data
                parts[count].iov_len = size
                count += 1
            memset(&message, 0, sizeof(msghdr))
            message.msg_iov = parts
            message.msg_iovlen = count
            n = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | more)
            if n < 0:
                if errno != EAGAIN and errno != EINTR:
                    return self.fail(errno)
                n = 0
            self.backlog -= n
        j = self.first_span
        self.first_span = self.last_span = 0
        self.queued = 0
        self.loop.sending = True    # what the owner adds when told comes behind all of this
        try:
            while j:
                k = arena.spans[j - 1].size
                if n < k:
                    self.queue_unsent(arena.memory + arena.spans[j - 1].at + n, k - n, None)
                n = n - k if n > k else 0
                arena.spans[j - 1].stream = NULL
                j = arena.spans[j - 1].next
            if n < size:
                self.queue_unsent(data + n, size - n, owner)
        finally:
            self.loop.sending = False
        return self.loop.tell_risen()

    cdef int queue_unsent(self, const char *data, Py_ssize_t size, object owner) except -1:
        return keep_unsent(self, data, size, owner)

    cdef int check_high(self) except -1:
        if (
            self.backlog - self.queued > self.high
            and not self.flags & (S_PAUSED | S_ABORT | S_LOST)
        ):
            self.flags |= S_PAUSED
            try:
                self.on_pause_writing()
            except BaseException:
                self.loop.guard(self, "on_pause_writing failed")
        return 0

    cdef int check_low(self) except -1:
        if self.flags & (S_PAUSED | S_ABORT) != S_PAUSED or self.backlog - self.queued > self.low:
            return 0
        if self.loop.core.quiet:
            self.flags |= S_RESUMES
            self.schedule_update()
        else:
            self.flags &= ~<uint32_t>S_PAUSED
            try:
                self.on_resume_writing()
            except BaseException:
                self.loop.guard(self, "on_resume_writing failed")
        return 0

    cdef int drop_spans(self) except -1:
        cdef Arena *arena = &self.loop.core.arenas[self.loop.core.current]
        cdef uint32_t j = self.first_span
        while j:
            arena.spans[j - 1].stream = NULL
            j = arena.spans[j - 1].next
        self.first_span = self.last_span = 0
        self.backlog -= self.queued
        self.queued = 0
        return 0

    cdef int drop_outbox(self) except -1:
        # A buffer in flight is the kernel's until its completion.
        if not self.flags & S_OUT:
            free_outbox(self)
        self.backlog = 0
        return 0

    cdef int fail(self, int error) except -1:
        if self.flags & S_ABORT:
            return 0
        return self.abort(error_of(error))
