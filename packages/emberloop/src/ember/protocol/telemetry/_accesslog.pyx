"""`AccessLog` of the compiled build: one JSON line for each exchange, written many at once."""

import contextvars
import json

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ember.protocol.telemetry._observer cimport SHORT, Peer, clock
from ember.protocol.message._request cimport Request, fill_id

from ember.protocol.telemetry.series import LOG_DROPPED

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    object PyMemoryView_FromMemory(char *memory, Py_ssize_t size, int flags)
    int PyBUF_READ

cdef extern from *:
    """
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    static double ember_offset(void)
    {
        struct timespec wall, now;
        clock_gettime(CLOCK_REALTIME, &wall);
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)(wall.tv_sec - now.tv_sec) + 1e-9 * (double)(wall.tv_nsec - now.tv_nsec);
    }

    /* "2026-11-21T13:21:13": 19 bytes, UTC. */
    static void ember_second(long long when, char *to)
    {
        time_t at = (time_t)when;
        struct tm tm;
        char text[64];
        gmtime_r(&at, &tm);
        snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        memcpy(to, text, 19);
    }

    /* As the inside of a JSON string, pure ASCII: a byte that is not ASCII is taken for Latin-1. */
    static char *ember_escape(char *to, const char *from, size_t size)
    {
        static const char hex[] = "0123456789abcdef";
        for (size_t i = 0; i < size; i++) {
            unsigned char c = (unsigned char)from[i];
            if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\\\') {
                *to++ = (char)c;
            } else {
                memcpy(to, "\\\\u00", 4);
                to[4] = hex[c >> 4];
                to[5] = hex[c & 15];
                to += 6;
            }
        }
        return to;
    }

    static char *ember_number(char *to, unsigned long long number)
    {
        char digits[24];
        int at = 24;
        do {
            digits[--at] = (char)('0' + number % 10);
            number /= 10;
        } while (number);
        memcpy(to, digits + at, (size_t)(24 - at));
        return to + (24 - at);
    }

    /* Six digits. */
    static char *ember_micros(char *to, unsigned long number)
    {
        for (int i = 5; i >= 0; i--) {
            to[i] = (char)('0' + number % 10);
            number /= 10;
        }
        return to + 6;
    }
    """
    double ember_offset() nogil
    void ember_second(long long, char *) nogil
    char *ember_escape(char *, const char *, size_t) nogil
    char *ember_number(char *, unsigned long long) nogil
    char *ember_micros(char *, unsigned long) nogil

cdef enum:
    SIZE = 262144           # bytes of lines that are written at once: see PAUSE
    LONGEST = 8192          # bytes of a path, and of what else comes from outside; the rest is cut
    FIXED = 512             # of a line, without path, route, id and client

#: Seconds between two writes: a busy process writes many lines at once, an idle one each at once.
#: A file takes 250 KB for two thirds of what it takes four times 64 KB for; a killed process loses
#: the lines of so long.
cdef double PAUSE = 0.02
#: Seconds until what the file did not take is tried again.
RETRY = 0.25


cdef inline char *put(char *to, const char *what, Py_ssize_t size) noexcept:
    memcpy(to, what, size)
    return to + size


cdef bytes client_text(object client):
    """How a line calls `client`, as the inside of a JSON string."""
    if client is None:
        return b""
    host, port = client
    host = host[:LONGEST]
    if port is not None:
        host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return json.dumps(host)[1:-1].encode()


cdef int call(Peer peer) except -1:
    """Keep how lines call this peer."""
    cdef bytes text = client_text(peer.client)
    peer.size = <int>PyBytes_GET_SIZE(text)
    if peer.size <= SHORT:
        memcpy(peer.text, PyBytes_AS_STRING(text), peer.size)
    else:
        peer.long_text = text
    peer.called = True
    return 0


cdef class AccessLog:
    """Writes to `file`, a `LogFile`. `worker` is the number in each line."""

    def __cinit__(self):
        self.buffer = <char *>malloc(SIZE)
        if self.buffer == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buffer)

    def __init__(self, file, int worker=0):
        self.file = file
        self.set_worker(worker)
        self.context = contextvars.Context()
        self.offset = ember_offset()
        self.second_of = -1
        self.stamp_of = -1.0

    def set_worker(self, int worker):
        """Which worker this is."""
        self.worker = worker
        self.tail = b'","worker":%d}\n' % worker

    cdef int attach(self, object loop) except -1:
        if loop is not self.loop:
            self.loop = loop
            self.posted = False
            self.timer = None
        return 0

    cdef char *put_time(self, char *to, double began) noexcept:
        cdef long long micros, second
        if began != self.stamp_of:
            micros = <long long>((began + self.offset) * 1e6)
            second = micros // 1000000
            if second != self.second_of:
                ember_second(second, self.stamp)
                self.second_of = second
            self.stamp[19] = 46      # .
            ember_micros(self.stamp + 20, <unsigned long>(micros - second * 1000000))
            self.stamp_of = began
        return put(to, self.stamp, 26)

    cdef void close_lines(self, double ended) noexcept:
        """The turn ended: fill in how long it took."""
        cdef unsigned long long micros = <unsigned long long>(
            min(max(ended - self.turn_began, 0.0), 999.0) * 1e6)
        cdef char text[16]
        cdef int i
        cdef unsigned long long seconds = micros // 1000000
        text[0] = text[1] = 32      # JSON may have spaces before a number
        if seconds >= 10:
            text[1] = <char>(48 + seconds // 10 % 10)
        if seconds >= 100:
            text[0] = <char>(48 + seconds // 100)
        text[2] = <char>(48 + seconds % 10)
        text[3] = 46
        ember_micros(text + 4, <unsigned long>(micros % 1000000))
        for i in range(self.opened):
            memcpy(self.buffer + self.open_lines[i], text, 10)
        self.opened = 0

    cdef int line(self, Request request, Peer peer, bytes route, int status, Py_ssize_t sent,
                  double began, double ended, bint aborted, str identity) except -1:
        """Add one line; `route` is JSON."""
        cdef Py_ssize_t path_size = 0, id_size = 0, client_size, room
        cdef unsigned long long micros
        cdef const char *path = NULL
        cdef const char *name = NULL
        cdef const char *raw = NULL
        cdef char *to
        cdef object kept = None, target = None
        cdef bytes longer
        cdef const char *client
        if request is not None:
            raw = PyBytes_AS_STRING(request.raw)
            if request.head.path_len:
                path, path_size = raw + request.head.path, request.head.path_len
            else:
                target = request.raw_path
                path, path_size = PyBytes_AS_STRING(target), PyBytes_GET_SIZE(target)
            kept = request._id
        else:
            kept = identity
        if type(kept) is str:
            name = PyUnicode_AsUTF8AndSize(kept, &id_size)
        if self.forwarded and request is not None:
            longer = client_text((request.client_ip or "", None))
            client, client_size = PyBytes_AS_STRING(longer), PyBytes_GET_SIZE(longer)
        else:
            if not peer.called:
                call(peer)
            client, client_size = peer.text, peer.size
            if client_size > SHORT:
                client = PyBytes_AS_STRING(peer.long_text)
        path_size, id_size = min(path_size, LONGEST), min(id_size, LONGEST)
        room = FIXED + 6 * (path_size + id_size) + client_size
        room += PyBytes_GET_SIZE(route)
        if self.used + room > SIZE:
            self.flush_now()
            if room > SIZE:
                path_size = min(path_size, 1024)
                id_size = min(id_size, 256)
                room = FIXED + 6 * (path_size + id_size) + client_size
                if room + PyBytes_GET_SIZE(route) > SIZE:
                    route = b"null"
        to = self.buffer + self.used
        to = put(to, b'{"time":"', 9)
        to = self.put_time(to, began)
        to = put(to, b'Z","id":"', 9)
        if name != NULL:
            to = ember_escape(to, name, id_size)
        elif request is not None:
            fill_id(to)
            to += 16
        to = put(to, b'","method":"', 12)
        if request is not None:
            # A token (RFC 9110 section 5.6.2): nothing in it needs escaping.
            to = put(to, raw + request.head.start, min(request.head.method_len, <unsigned>64))
        to = put(to, b'","route":', 10)
        to = put(to, PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route))
        to = put(to, b',"path":"', 9)
        to = ember_escape(to, path, path_size)
        to = put(to, b'","status":', 11)
        to = ember_number(to, status)
        to = put(to, b',"bytes":', 9)
        to = ember_number(to, sent)
        to = put(to, b',"duration":', 12)
        if ended < 0:
            if self.opened == MOST_OPEN or (self.opened and began != self.turn_began):
                self.close_lines(clock())
            self.turn_began = began
            self.open_lines[self.opened] = <uint32_t>(to - self.buffer)
            self.opened += 1
            to += 10
        else:
            micros = <unsigned long long>(max(ended - began, 0.0) * 1e6)
            to = ember_number(to, micros // 1000000)
            to[0] = 46
            to = ember_micros(to + 1, <unsigned long>(micros % 1000000))
        if aborted:
            to = put(to, b',"aborted":true', 15)
        to = put(to, b',"client":"', 11)
        to = put(to, client, client_size)
        to = put(to, PyBytes_AS_STRING(self.tail), PyBytes_GET_SIZE(self.tail))
        self.used = to - self.buffer
        if not self.posted:
            self.post()
        return 0

    cdef int post(self) except -1:
        """There is something to write: soon, and not before PAUSE after the last time."""
        cdef double pause
        if self.loop is None or self.loop.is_closed():
            return self.flush_now()
        pause = self.written_at + PAUSE - clock()
        if pause > 0:
            self.loop.call_later(pause, self.flush, context=self.context)
        else:
            self.loop.call_soon(self.flush, context=self.context)
        self.posted = True
        return 0

    def flush(self):
        """Write what was collected."""
        self.flush_now()

    cdef int flush_now(self) except -1:
        cdef object lines
        self.posted = False
        self.offset = ember_offset()
        if self.opened:
            self.close_lines(clock())
        if self.used:
            self.written_at = clock()
            lines = PyMemoryView_FromMemory(self.buffer, self.used, PyBUF_READ)
            self.used = 0
            self.file.write(lines)
            self.look()
        return 0

    cdef int look(self) except -1:
        """At what was not taken."""
        cdef Py_ssize_t dropped = self.file.dropped
        if dropped != self.dropped:
            if self.series is not None:
                self.series.words[LOG_DROPPED] += dropped - self.dropped
            self.dropped = dropped
        if self.file.waiting and self.timer is None and self.loop is not None:
            self.timer = self.loop.call_later(RETRY, self._retry, context=self.context)
        return 0

    def _retry(self):
        self.timer = None
        self.file.retry()
        self.look()

    def reopen(self):
        """Open the path again, after something has moved the file away."""
        self.flush_now()
        self.file.reopen()
        self.look()

    def close(self):
        """Write what is left and end."""
        self.flush_now()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.file.close()
        self.look()
