# Files on their way to a socket: a chunk of the outbox that names a descriptor instead of memory.
#
# The kernel is asked with sendfile(2) as soon as the socket has room, from the loop's thread. A
# splice on the ring was looked at and is no better: IORING_OP_SPLICE is always given to a worker
# thread, goes by way of a pipe (two operations for 64 KiB), and needs an order to be kept by hand.

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sys_sendfile "sendfile"(int, int, int64_t *, size_t)

# Errors of a sendfile that the socket is to blame for; any other one is the file's.
cdef frozenset SOCKET_ERRORS = frozenset((
    EPIPE, ECONNRESET, ECONNABORTED, ETIMEDOUT, ENOTCONN, EHOSTUNREACH, ENETUNREACH, ENETDOWN,
))


cdef int write_file(Stream stream, object owner, int fd, int64_t offset, Py_ssize_t size) except -1:
    """`Stream.write_file`: what was written before leaves first, in the same packets if it can."""
    cdef Chunk *chunk
    cdef Outbox *box
    cdef ssize_t n
    cdef int error
    if stream.loop.core.sends_unseen:
        stream.loop.scan_sends()
    if not stream.takes_writes():
        return FILE_SENT
    if stream.first_span and stream.outbox == NULL:
        stream.push(NULL, 0, None, MSG_MORE)
        if not stream.takes_writes():
            return FILE_SENT
    if stream.outbox != NULL or stream.first_span:
        stream.tell_drained()
        return FILE_BUSY
    n = ask_kernel(stream.fd, fd, offset, size)
    if n == size:
        return FILE_SENT
    if n < 0:
        error = errno
        if error in SOCKET_ERRORS:
            stream.fail(error)
            return FILE_SENT
        if error != EAGAIN and error != EINTR:
            return FILE_CANNOT
        n = 0
    elif n == 0:
        return FILE_CANNOT      # it has no such bytes; who reads will notice
    chunk = <Chunk *>malloc(sizeof(Chunk))
    box = <Outbox *>calloc(1, sizeof(Outbox))
    if chunk == NULL or box == NULL:
        free(chunk)
        free(box)
        raise MemoryError
    Py_INCREF(owner)
    chunk.next = NULL
    chunk.owner = <PyObject *>owner
    chunk.data = NULL
    chunk.size = size
    chunk.sent = n
    chunk.room = 0
    chunk.fd = fd
    chunk.offset = offset
    box.first = box.last = chunk
    stream.outbox = box
    # Nothing of it is in memory: the marks of the backlog do not concern it.
    stream.backlog += size - n
    stream.tell_drained()
    return FILE_KEPT


cdef ssize_t ask_kernel(int to, int fd, int64_t offset, size_t size) noexcept:
    # Other threads may run meanwhile: what is not in the page cache is read from the disk here.
    with nogil:
        return sys_sendfile(to, fd, &offset, size)


cdef int send_file_chunk(Stream stream) except -1:
    """The socket has room: the kernel takes what it can of the file that stands first."""
    cdef Chunk *chunk = (<Outbox *>stream.outbox).first
    cdef ssize_t n = ask_kernel(
        stream.fd, chunk.fd, chunk.offset + <int64_t>chunk.sent, chunk.size - chunk.sent
    )
    cdef int error = errno
    if n > 0:
        return outbox_sent(stream, n)
    if n == 0:
        return file_failed(stream, EOFError("the file became shorter while it was sent"))
    if error == EAGAIN or error == EINTR:
        return stream.schedule_update()
    if error in SOCKET_ERRORS:
        return stream.fail(error)
    return file_failed(stream, OSError(error, os.strerror(error)))


cdef int file_failed(Stream stream, object error) except -1:
    """The rest of the file will never come: the owner decides what becomes of the connection."""
    cdef Outbox *box = <Outbox *>stream.outbox
    cdef Chunk *chunk = box.first
    stream.backlog -= chunk.size - chunk.sent
    box.first = chunk.next
    if box.first == NULL:
        stream.outbox = NULL
        free(box)
    free_chunk(chunk)
    stream.schedule_update()
    try:
        stream.on_file_failed(error)
    except BaseException:
        stream.loop.guard(stream, "on_file_failed failed")
    return stream.check_low()


cdef bint is_file_first(Stream stream) noexcept:
    return stream.outbox != NULL and (<Outbox *>stream.outbox).first.fd >= 0
