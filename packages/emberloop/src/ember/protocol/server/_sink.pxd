# Where a connection's bytes go: memory, an asyncio transport, or a stream of the compiled loop.

cdef enum:
    # what became of Sink.send_file()
    FILE_SENT = 0       # it is with the kernel
    FILE_KEPT = 1       # it will be when there is no backlog any more
    FILE_BUSY = 2       # nothing of it; ask again when there is no backlog
    FILE_CANNOT = 3     # it has to be read, and written


cdef class Sink:
    cdef char *memory               # what was committed and not yet flushed
    cdef Py_ssize_t used, room
    # Room for `size` more bytes; valid until the next call.
    cdef char *reserve(self, Py_ssize_t size) except NULL
    # So many bytes of the last `reserve` were filled.
    cdef int commit(self, Py_ssize_t size) except -1
    # Send an object that supports the buffer protocol, after what was committed.
    cdef int write(self, object data) except -1
    # Part of an open file, after what was written; `HTTPOutput.wake()` says when no more waits.
    cdef int send_file(self, object file, long long offset, Py_ssize_t size) except -1
    # A coroutine function with the same arguments and a bool, where only that will do; else None.
    cdef object file_sender(self)
    # Others' responses of this turn, too, leave before work that takes long.
    cdef int send_now(self) except -1
    # The end of a batch: let go what was collected.
    cdef int flush(self) except -1
    cdef int send(self, object data) except -1
    # Bytes that the peer has not taken.
    cdef Py_ssize_t backlog(self) except -1
    # A number that changes whenever the peer takes something; looked at while there is a backlog.
    cdef long long progress(self) except -1
    # Whether bytes of the peer wait in the kernel, or behind it, although reading is wanted.
    cdef bint unread(self) except -1
    cdef int pause_reading(self) except -1
    cdef int resume_reading(self) except -1
    cdef int close(self, bint linger) except -1
    cdef int abort(self) except -1
