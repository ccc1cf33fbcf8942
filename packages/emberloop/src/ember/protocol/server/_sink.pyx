"""The outgoing half of a connection. The base class collects a batch in memory of its own."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef enum:
    BATCH = 65536       # collected bytes from which on they are let go at once
    KEPT = 16384        # memory that is kept from one batch to the next


cdef class Sink:
    """Collects what is written in one turn; a subclass says what `send` does with it."""

    def __dealloc__(self):
        free(self.memory)

    cdef char *reserve(self, Py_ssize_t size) except NULL:
        cdef Py_ssize_t room
        cdef void *memory
        if self.used + size > self.room:
            room = max(1024, self.room)
            while room < self.used + size:
                room *= 2
            memory = realloc(self.memory, room)
            if memory == NULL:
                raise MemoryError
            self.memory = <char *>memory
            self.room = room
        return self.memory + self.used

    cdef int commit(self, Py_ssize_t size) except -1:
        self.used += size
        if self.used >= BATCH:
            self.flush()
        return 0

    cdef int write(self, object data) except -1:
        cdef Py_ssize_t size
        if type(data) is not bytes:
            data = bytes(data)
        size = PyBytes_GET_SIZE(data)
        if size >= KEPT:
            self.flush()
            return self.send(data)
        memcpy(self.reserve(size), PyBytes_AS_STRING(data), size)
        return self.commit(size)

    cdef int flush(self) except -1:
        cdef object data
        if self.used:
            data = PyBytes_FromStringAndSize(self.memory, self.used)
            self.used = 0
            # An idle connection keeps no memory for what it once sent.
            free(self.memory)
            self.memory = NULL
            self.room = 0
            self.send(data)
        return 0

    cdef int send(self, object data) except -1:
        raise TypeError("Sink.send() is for subclasses")

    cdef int send_file(self, object file, long long offset, Py_ssize_t size) except -1:
        return FILE_CANNOT

    cdef int send_now(self) except -1:
        return 0

    cdef object file_sender(self):
        return None

    cdef Py_ssize_t backlog(self) except -1:
        return 0

    cdef long long progress(self) except -1:
        return self.backlog()

    cdef bint unread(self) except -1:
        return False

    cdef int pause_reading(self) except -1:
        return 0

    cdef int resume_reading(self) except -1:
        return 0

    cdef int close(self, bint linger) except -1:
        return 0

    cdef int abort(self) except -1:
        return 0
