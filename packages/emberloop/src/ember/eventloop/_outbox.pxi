# The outbox: what a socket did not take, oldest first, and how it leaves as the socket gets room.

cdef struct Chunk:
    Chunk *next
    PyObject *owner             # keeps `data` alive; NULL: the data lies behind this head
    char *data
    size_t size, sent, room
    int fd                      # a file instead of memory (see _sendfile.pxi); -1: none
    int64_t offset              # of its first byte in the file

cdef struct Outbox:
    Chunk *first
    Chunk *last


cdef int send_now(Stream stream, object data, bint later) except -1:
    """`Stream.send_now`: by a system call of its own, unless something waits to be sent before it
    or it may leave `later`, with what else is written in this turn.

    For owners that never leave spans for the end of the turn: those would be overtaken.
    """
    cdef Py_buffer view
    if type(data) is bytes:
        return send_bytes(stream, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data, later)
    # Others may change after the call: what is not sent at once is copied.
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return send_bytes(stream, <const char *>view.buf, view.len, None, later)
    finally:
        PyBuffer_Release(&view)


cdef int send_bytes(
    Stream stream, const char *data, Py_ssize_t size, object owner, bint later
) except -1:
    cdef ssize_t n = 0
    if not later or stream.backlog + size > min(stream.high, BY_REFERENCE):
        stream.uncork()
        later = False
    if not stream.takes_writes():
        return 0
    if stream.outbox == NULL:
        if later:
            stream.flags |= S_CORKED
        else:
            n = sys_send(stream.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if n == size:
                return 0
            if n < 0:
                if errno != EAGAIN and errno != EINTR:
                    return stream.fail(errno)
                n = 0
    size -= n
    stream.backlog += size
    return keep_unsent(stream, data + n, size, owner if size >= 8192 else None)


cdef int keep_unsent(Stream stream, const char *data, Py_ssize_t size, object owner) except -1:
    """Puts at the end of the outbox what the socket did not take (already in `backlog`). Without
    memory for it the stream is aborted: what follows must not be sent without it."""
    cdef Outbox *box = <Outbox *>stream.outbox
    cdef Chunk *chunk = NULL if box == NULL else box.last
    cdef size_t room = 0
    if stream.flags & S_ABORT:
        return 0        # what came before it is lost already
    if owner is None and chunk != NULL and chunk.owner == NULL \
            and chunk.room - chunk.size >= <size_t>size:
        memcpy(chunk.data + chunk.size, data, size)
        chunk.size += size
    else:
        if owner is None:
            room = size if size > 8192 else 8192
        chunk = <Chunk *>malloc(sizeof(Chunk) + room)
        if chunk != NULL and box == NULL:
            box = <Outbox *>calloc(1, sizeof(Outbox))
        if chunk == NULL or box == NULL:
            free(chunk)
            if stream.outbox == NULL:
                free(box)
            stream.backlog -= size
            return stream.fail(ENOMEM)
        chunk.next = NULL
        chunk.fd = -1
        chunk.sent = 0
        chunk.size = size
        chunk.room = room
        if owner is None:
            chunk.owner = NULL
            chunk.data = <char *>(chunk + 1)
            memcpy(chunk.data, data, size)
        else:
            Py_INCREF(owner)
            chunk.owner = <PyObject *>owner
            chunk.data = <char *>data
        if box.last != NULL:
            box.last.next = chunk
        else:
            box.first = chunk
        box.last = chunk
        stream.outbox = box
    stream.schedule_update()
    if stream.loop.sending:
        try:
            stream.loop.risen.append(stream)
        except MemoryError:
            return stream.fail(ENOMEM)
        return 0
    return stream.check_high()


cdef int outbox_sent(Stream stream, Py_ssize_t size) except -1:
    """The socket took `size` bytes of the outbox."""
    cdef Outbox *box = <Outbox *>stream.outbox
    cdef Outbox done
    cdef Chunk *chunk
    cdef size_t n
    stream.backlog -= size
    done.first = done.last = NULL
    while size and box.first != NULL:
        chunk = box.first
        n = chunk.size - chunk.sent
        if <size_t>size < n:
            chunk.sent += size
            break
        size -= n
        box.first = chunk.next
        chunk.next = done.first
        done.first = chunk
    if box.first == NULL:
        stream.outbox = NULL
        free(box)
    # Only now: the end of who owned the bytes may run anything, and the outbox is in order.
    free_chunks(done.first)
    stream.schedule_update()
    stream.check_low()
    if stream.closing and stream.outbox == NULL and not stream.flags & S_ABORT:
        return stream.on_flushed()
    return 0


cdef int send_outbox_on_ring(Stream stream) except -1:
    cdef Chunk *chunk = (<Outbox *>stream.outbox).first
    cdef size_t size = chunk.size - chunk.sent
    cdef ring_sqe *sqe = ring_entry(stream.loop)
    sqe.fd = stream.fd
    if chunk.fd >= 0:
        sqe.opcode = RING_OP_POLL_ADD
        sqe.op_flags = EPOLLOUT
    else:
        sqe.opcode = RING_OP_SEND
        sqe.ioprio = 1      # IORING_RECVSEND_POLL_FIRST: the socket was full a moment ago
        sqe.addr = <uint64_t><uintptr_t>(chunk.data + chunk.sent)
        sqe.len = <uint32_t>(size if size < (1 << 30) else (1 << 30))
        sqe.op_flags = MSG_NOSIGNAL
    sqe.user_data = <uint64_t><uintptr_t><PyObject *>stream | TAG_OUTBOX
    stream.flags |= S_OUT
    stream.pending += 1
    return 0


cdef int outbox_sent_by_ring(Stream stream, int res) except -1:
    stream.flags &= ~<uint32_t>(S_OUT | S_OUT_CANCEL)
    stream.pending -= 1
    if stream.flags & S_ABORT:
        stream.drop_outbox()
        unhold(stream)
        return stream.schedule_update()
    if res > 0:
        return send_file_chunk(stream) if is_file_first(stream) else outbox_sent(stream, res)
    if res in (0, -EAGAIN, -EINTR, -ECANCELED):
        return stream.schedule_update()     # nothing was sent; cancelled by retire_ring()
    # What the peer had sent may be behind this completion, with the reason why it is gone.
    return fail_after_reading(stream, -res)


cdef int fail_after_reading(Stream stream, int error) except -1:
    """The peer is gone. What it had sent before comes first, if somebody reads it: the next
    apply_updates() fails the stream."""
    if not stream.begins and not stream.is_reading():
        return stream.fail(error)
    stream.flags |= S_OUT_FAILED
    stream.error = error_of(error)
    return stream.schedule_update()


cdef int send_outbox_by_call(Stream stream, bint read_first) except -1:
    cdef iovec parts[16]
    cdef msghdr message
    cdef Chunk *chunk = (<Outbox *>stream.outbox).first
    cdef int count = 0
    cdef ssize_t n
    if chunk.fd >= 0:
        return send_file_chunk(stream)
    while chunk != NULL and chunk.fd < 0 and count < 16:
        parts[count].iov_base = chunk.data + chunk.sent
        parts[count].iov_len = chunk.size - chunk.sent
        count += 1
        chunk = chunk.next
    memset(&message, 0, sizeof(msghdr))
    message.msg_iov = parts
    message.msg_iovlen = count
    n = sendmsg(stream.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
    if n > 0:
        return outbox_sent(stream, n)
    if n < 0 and errno != EAGAIN and errno != EINTR:
        return fail_after_reading(stream, errno) if read_first else stream.fail(errno)
    return 0


cdef void free_chunk(Chunk *chunk) noexcept:
    if chunk.owner != NULL:
        Py_DECREF(<object>chunk.owner)
    free(chunk)


cdef void free_chunks(Chunk *chunk) noexcept:
    cdef Chunk *following
    while chunk != NULL:
        following = chunk.next
        free_chunk(chunk)
        chunk = following


cdef void free_outbox(Stream stream) noexcept:
    cdef Outbox *box = <Outbox *>stream.outbox
    stream.outbox = NULL
    if box != NULL:
        free_chunks(box.first)
        free(box)
