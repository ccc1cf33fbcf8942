# What ring and epoll tell of streams, and what a stream needs to ask them for it.

cdef ring_sqe *ring_entry(CoreLoop loop) except NULL:
    """The next submission entry; submits what is there when the queue is full. OSError when the
    kernel refuses it again and again."""
    cdef Core *core = loop.core
    cdef ring_sqe *sqe = ring_sqe_get(&core.ring)
    cdef int i
    for i in range(10):
        if sqe != NULL:
            return sqe
        if ring_enter(&core.ring, 0, 0) < 0 and ring_ready(&core.ring):
            loop.stash_ready()      # it may want room for completions first
        sqe = ring_sqe_get(&core.ring)
    if sqe == NULL:
        raise OSError(EBUSY, "the submission queue stays full")
    return sqe


cdef void forget_entry(ring_sqe *sqe) noexcept:
    """Nothing is to be done for an entry that was not submitted."""
    memset(sqe, 0, sizeof(ring_sqe))
    sqe.opcode = RING_OP_NOP
    sqe.flags = RING_SQE_CQE_SKIP_SUCCESS
    sqe.user_data = TAG_NONE


cdef int cancel_entry(CoreLoop loop, PyObject *what, int tag) except -1:
    cdef ring_sqe *sqe = ring_entry(loop)
    sqe.opcode = RING_OP_ASYNC_CANCEL
    sqe.flags = RING_SQE_CQE_SKIP_SUCCESS
    sqe.fd = -1
    sqe.addr = <uint64_t><uintptr_t>what | tag
    sqe.user_data = TAG_NONE
    return 0


cdef void unhold(Stream stream) noexcept:
    if stream.flags & S_HELD and stream.pending == 0:
        stream.flags &= ~<uint32_t>S_HELD
        Py_DECREF(stream)


cdef int received_by_ring(CoreLoop loop, Stream stream, int res, uint32_t flags) except -1:
    cdef ring *r = &loop.core.ring
    cdef uint32_t buffer = flags >> RING_CQE_BUFFER_SHIFT
    if not flags & RING_CQE_F_MORE:
        # Any multishot may end at any time; apply_updates() arms it again if it is still wanted.
        stream.flags &= ~<uint32_t>(S_ARMED | S_CANCEL)
        stream.pending -= 1
        if not stream.flags & S_LOST:
            stream.schedule_update()
        else:
            unhold(stream)
    if flags & RING_CQE_F_BUFFER:
        try:
            if res > 0:
                stream.received(r.bufs + <size_t>buffer * r.buf_size, res)
        finally:
            # The ring may be gone: a callback may have forked.
            if r.bufs != NULL:
                ring_give(r, buffer)
    if res == 0:
        stream.ended()
    elif res == -ENOBUFS:
        ring_give_more(r)
    elif res < 0 and res != -ECANCELED and res != -EAGAIN and res != -EINTR:
        stream.fail(-res)
    return 0


cdef int ready_on_epoll(CoreLoop loop, Stream stream, uint32_t events) except -1:
    # Reading first: a peer that reset the connection fails our sends, and what it had sent before
    # is still to be had.
    if events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP):
        receive_on_epoll(loop, stream, events)
    if (
        events & (EPOLLOUT | EPOLLERR | EPOLLHUP) and stream.outbox != NULL
        and not stream.flags & (S_ABORT | S_OUT_FAILED)
    ):
        # Before its owner begins to read, reading first is still to come.
        send_outbox_by_call(stream, stream.begins)
    return 0


cdef int receive_on_epoll(CoreLoop loop, Stream stream, uint32_t events) except -1:
    cdef ssize_t n
    if stream.closing or not stream.flags & S_WANT_READ or stream.flags & S_EOF:
        return peer_hung_up(stream, events)
    n = sys_recv(stream.fd, loop.core.read_buffer, READ_SIZE, MSG_DONTWAIT)
    if n > 0:
        return stream.received(loop.core.read_buffer, n)
    if n == 0:
        return stream.ended()
    if errno != EAGAIN and errno != EINTR:
        return stream.fail(errno)
    return 0


cdef int watched_by_ring(Stream stream, int res, uint32_t flags) except -1:
    if not flags & RING_CQE_F_MORE:
        stream.flags &= ~<uint32_t>(S_WATCHED | S_WATCH_CANCEL)
        stream.pending -= 1
        if stream.flags & S_LOST:
            unhold(stream)
            return 0
        if res < 0 and res != -ECANCELED:
            stream.flags &= ~<uint32_t>S_WATCHES    # cannot be had: not asked for again
        stream.schedule_update()
    return peer_hung_up(stream, <uint32_t>res) if res > 0 else 0


cdef int peer_hung_up(Stream stream, uint32_t events) except -1:
    """Noted only: apply_updates() tells the owner, unless recv does because reading goes on."""
    if stream.closing or not stream.flags & S_WATCHES:
        return 0
    if events & (EPOLLERR | EPOLLHUP):
        stream.flags |= S_GONE
    if events & EPOLLRDHUP:
        stream.flags |= S_HANGUP
    return stream.schedule_update()


cdef int forget_stream(Stream stream, bint inherited) except -1:
    """The ring or epoll is gone, and with it all that was armed there."""
    cdef bint in_flight = stream.flags & S_OUT and not is_file_first(stream)
    stream.flags &= ~<uint32_t>(
        S_ARMED | S_CANCEL | S_OUT | S_OUT_CANCEL | S_WATCHED | S_WATCH_CANCEL | S_EPOLL_ANY
    )
    stream.pending = 0
    if inherited:
        stream.first_span = stream.last_span = 0
        stream.queued = stream.backlog = 0
        free_outbox(stream)
    elif in_flight:
        # How much of it was sent is not known any more.
        stream.fail(ECANCELED)
    if not stream.flags & S_TODO:
        stream.schedule_update()
    return 0


cdef int release_at_close(CoreLoop loop, ring_cqe *cqe) except -1:
    """A completion while the loop closes: only releases what it owned."""
    cdef int kind = cqe.user_data & TAG_MASK
    cdef object what
    if cqe.flags & RING_CQE_F_MORE or kind not in (TAG_RECV, TAG_OUTBOX, TAG_ACCEPT, TAG_WATCH):
        if kind == TAG_ACCEPT and cqe.res >= 0:
            sys_close(cqe.res)
        return 0
    what = <object><PyObject *><uintptr_t>(cqe.user_data & ~<uint64_t>TAG_MASK)
    if kind == TAG_ACCEPT:
        if cqe.res >= 0:
            sys_close(cqe.res)
        accepted_by_ring(<Listener>what, -ECANCELED, 0)
    else:
        (<Stream>what).pending -= 1
        (<Stream>what).flags &= ~<uint32_t>(S_ARMED | S_OUT | S_WATCHED)
        unhold(<Stream>what)
    return 0
