"""Whole responses, written in one piece where they are sent from."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy
from libc.time cimport time, time_t

from ember.protocol.message.dates import date_field

cdef enum:
    INLINE_BODY = 15360     # bytes of a response that are copied behind its head
    ROOM = 16000            # bytes of head and body together, of what a sink can reserve at once


# ---- the Date field, made once a second -----------------------------------------------------

cdef char DATE[64]
cdef Py_ssize_t date_size = 0
cdef time_t date_second = 0


cdef int refresh_date() except -1:
    global date_size, date_second
    cdef bytes field
    cdef time_t now = time(NULL)
    if now != date_second:
        field = date_field()
        date_size = PyBytes_GET_SIZE(field)
        memcpy(DATE, PyBytes_AS_STRING(field), date_size)
        date_second = now
    return 0


cdef inline char *put(char *to, const char *what, Py_ssize_t size) noexcept:
    memcpy(to, what, size)
    return to + size


cdef inline char *put_number(char *to, Py_ssize_t number) noexcept:
    cdef char digits[24]
    cdef int at = 24
    while True:
        at -= 1
        digits[at] = <char>(48 + number % 10)
        number //= 10
        if number == 0:
            break
    return put(to, digits + at, 24 - at)


cdef inline char *put_end(char *to, bint keep, bint http10) noexcept:
    """What ends every head: persistence, the default in HTTP/1.1 and said aloud in HTTP/1.0 (RFC
    9112 section 9.3), the date, the empty line."""
    if not keep:
        to = put(to, b"Connection: close\r\n", 19)
    elif http10:
        to = put(to, b"Connection: keep-alive\r\n", 24)
    to = put(to, DATE, date_size)
    return put(to, b"\r\n", 2)


# ---- responses ------------------------------------------------------------------------------

cdef int write_whole(HTTPOutput output, bytes line, const char *kind, Py_ssize_t kind_size,
                     bytes fields, const char *data, Py_ssize_t size, bytes body, bint keep,
                     bint http10, bint only_head) except -1:
    cdef Sink sink = output.sink
    cdef Py_ssize_t more = 0 if fields is None else PyBytes_GET_SIZE(fields)
    cdef bint inline = size + more <= INLINE_BODY
    cdef char *start
    cdef char *to
    refresh_date()
    start = to = sink.reserve(640 + more + (size if inline and size > 0 else 0))
    to = put(to, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    if kind != NULL:
        to = put(to, b"Content-Type: ", 14)
        to = put(to, kind, kind_size)
        to = put(to, b"\r\n", 2)
    if more:
        to = put(to, PyBytes_AS_STRING(fields), more)
    if size >= 0:
        to = put(to, b"Content-Length: ", 16)
        to = put_number(to, size)
        to = put(to, b"\r\n", 2)
    to = put_end(to, keep, http10)
    if inline and size > 0 and not only_head:
        to = put(to, data, size)
    output.written += to - start
    sink.commit(to - start)
    if not inline and not only_head:
        output.written += size
        sink.write(PyBytes_FromStringAndSize(data, size) if body is None else body)
    if not output.processing:
        sink.flush()
    return 0


cdef int write_kept(HTTPOutput output, Kept kept, double now, bint keep, bint http10,
                    bint only_head) except -1:
    cdef Sink sink = output.sink
    cdef Py_ssize_t head = PyBytes_GET_SIZE(kept.head), tail = PyBytes_GET_SIZE(kept.tail)
    cdef Py_ssize_t size = 0 if only_head else PyBytes_GET_SIZE(kept.body)
    cdef bint inline = head + tail + size + 256 <= ROOM
    cdef char *start
    cdef char *to
    refresh_date()
    start = to = sink.reserve(head + tail + 256 + (size if inline else 0))
    to = put(to, PyBytes_AS_STRING(kept.head), head)
    to = put_number(to, <Py_ssize_t>max(0.0, now - kept.stored_at))
    to = put(to, PyBytes_AS_STRING(kept.tail), tail)
    to = put_end(to, keep, http10)
    if inline:
        to = put(to, PyBytes_AS_STRING(kept.body), size)
    output.written += to - start
    sink.commit(to - start)
    if not inline:
        output.written += size
        sink.write(kept.body)
    return 0


cdef bint plain(const char *text, Py_ssize_t size) noexcept:
    """Whether `text` may stand in a field as it is: printable ASCII. The last look before the
    wire."""
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] < 0x20 or text[i] > 0x7e:
            return False
    return True
