"""`Recorder` of the compiled build: the observer behind `/metrics` and the access log.

Nothing of it is Python while a route answers what it answered before: numbers are added where they
are read from, lines are composed where they are written from.
"""

import json
import logging

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.dict cimport PyDict_GetItem
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from ember.eventloop._handles cimport Runnable
from ember.eventloop._stream cimport CoreLoop
from ember.protocol.telemetry._accesslog cimport MOST_OPEN, AccessLog
from ember.protocol.telemetry._observer cimport Observer, Peer, clock
from ember.protocol.message._request cimport Request

from ember.protocol.telemetry.series import (
    ACCEPTED as _ACCEPTED,
    BOUNDS as _BOUNDS,
    CONNECTIONS as _CONNECTIONS,
    IN_FLIGHT as _IN_FLIGHT,
    METHODS,
    OTHER_METHOD,
    REFUSED,
    UNMATCHED,
)

log = logging.getLogger("ember.protocol")

cdef int ACCEPTED = _ACCEPTED, CONNECTIONS = _CONNECTIONS, IN_FLIGHT = _IN_FLIGHT
cdef tuple NAMES = (*METHODS, OTHER_METHOD)
cdef enum:
    MOST_BOUNDS = 32
    OTHER = 10          # what METHODS does not name
cdef double BOUNDS[MOST_BOUNDS]
cdef int bounds = len(_BOUNDS)
for i, bound in enumerate(_BOUNDS):
    BOUNDS[i] = bound


cdef inline uint32_t method_of(Request request) noexcept:
    """The index in METHODS."""
    cdef const char *p = PyBytes_AS_STRING(request.raw) + request.head.start
    cdef uint32_t size = request.head.method_len
    if size == 3:
        if memcmp(p, b"GET", 3) == 0:
            return 0
        if memcmp(p, b"PUT", 3) == 0:
            return 3
    elif size == 4:
        if memcmp(p, b"POST", 4) == 0:
            return 2
        if memcmp(p, b"HEAD", 4) == 0:
            return 1
    elif size == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return 5
        if memcmp(p, b"TRACE", 5) == 0:
            return 8
        if memcmp(p, b"QUERY", 5) == 0:
            return 9
    elif size == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return 4
    elif size == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return 6
        if memcmp(p, b"CONNECT", 7) == 0:
            return 7
    return OTHER


cdef class RouteSeries:
    def __dealloc__(self):
        free(self.counts)


cdef RouteSeries make_route_series(str label, object json_label):
    cdef RouteSeries series = RouteSeries.__new__(RouteSeries)
    series.label = label
    series.json = json.dumps(json_label).encode()
    return series


@cython.final
cdef class _AtEnd(Runnable):
    """The end of a turn."""
    cdef Recorder recorder

    cdef int run(self) except -1:
        return self.recorder.end_of_turn()


cdef class Recorder(Observer):
    """Counts in `series` and writes to `log`; either may be None."""

    def __init__(self, series=None, AccessLog log=None):
        cdef _AtEnd at_end = _AtEnd.__new__(_AtEnd)
        at_end.recorder = self
        self.at_end = at_end
        self.log = log
        self.count_in(series)

    def count_in(self, series):
        """Count there from now on; None: nowhere."""
        self.end_of_turn()
        self.series = series
        self.words = NULL
        self.by_route = {None: make_route_series(UNMATCHED, None)}
        self.refusals = make_route_series(REFUSED, None)
        if series is not None:
            # Our own: whoever releases the other one does not take the memory away.
            self.view = memoryview(series.words)
            self.words = <uint64_t *>PyMemoryView_GET_BUFFER(self.view).buf
        if self.log is not None:
            self.log.series = series

    def flush(self):
        """Count, and log, what is over as over now: else that comes with the end of the turn."""
        self.end_of_turn()

    cdef int attach(self, object loop) except -1:
        if loop is not self.loop:
            self.loop = loop
            self.core = loop if isinstance(loop, CoreLoop) else None
            self.end_of_turn()
            if self.log is not None:
                self.log.attach(loop)
        return 0

    cdef int opened(self) except -1:
        if self.words != NULL:
            self.words[CONNECTIONS] += 1
            self.words[ACCEPTED] += 1
        return 0

    cdef int closed(self) except -1:
        if self.words != NULL and self.words[CONNECTIONS]:
            self.words[CONNECTIONS] -= 1
        return 0

    cdef double begin(self) except? -1:
        if self.words != NULL:
            self.words[IN_FLIGHT] += 1
        # The beginning of the turn that brought the request: no clock is read, and what waits in
        # one turn for others that came with it counts as waiting.
        return clock() if self.core is None else self.core.now

    cdef RouteSeries series_of(self, object route):
        cdef RouteSeries series
        label = getattr(route, "path", None)
        if type(label) is not str:
            label = str(route)
        series = self.by_route[route] = make_route_series(label, label)
        return series

    cdef Counts *counts_of(self, RouteSeries series, uint32_t key) except NULL:
        """Add what is counted for the first time."""
        cdef uint32_t status = key & 0xFFFF
        cdef str method = NAMES[key >> 16]
        cdef Py_ssize_t requests = self.series.requests(series.label, method, status)
        cdef Py_ssize_t durations = self.series.durations(series.label, method)
        cdef Counts *more = <Counts *>realloc(series.counts, (series.known + 1) * sizeof(Counts))
        if more == NULL:
            raise MemoryError
        series.counts = more
        more += series.known
        more.key = key
        more.requests = self.words + requests
        more.durations = self.words + durations
        series.known += 1
        return more

    cdef int end_of_turn(self) except -1:
        cdef double ended = clock(), took = max(ended - self.turn_began, 0.0)
        cdef int i
        self.posted = False
        if self.log is not None and self.log.opened:
            self.log.close_lines(ended)
        if self.opened_now:
            for i in range(self.opened_now):
                self.take(self.open_ones[i], took, False)
            self.opened_now = 0
        return 0

    cdef int take(self, uint64_t *durations, double took, bint aborted) noexcept:
        cdef int at = 0
        while at < bounds and took > BOUNDS[at]:
            at += 1
        durations[0] += <uint64_t>(took * 1e9)
        durations[1] += aborted
        durations[2 + at] += 1
        return 0

    cdef int done(self, Request request, Peer peer, int status, Py_ssize_t sent, double began,
                  bint aborted) except -1:
        # What began with this turn ends with it: its response leaves then, and one look at the
        # clock is enough for all of them.
        cdef double ended = -1.0
        cdef RouteSeries series
        cdef PyObject *found
        if self.core is None or began != self.core.now or aborted:
            ended = clock()
        try:
            if self.words != NULL and self.words[IN_FLIGHT]:
                self.words[IN_FLIGHT] -= 1
            found = PyDict_GetItem(self.by_route, request.route)
            series = self.series_of(request.route) if found == NULL else <RouteSeries><object>found
            if self.words != NULL:
                self.count(series, method_of(request) << 16 | status & 0xFFFF, sent, began, ended,
                           aborted)
            if ended < 0 and not self.posted:
                self.core.post(self.at_end)
                self.posted = True
            if self.log is not None:
                self.log.line(request, peer, series.json, status, sent, began, ended, aborted,
                              None)
        except Exception:
            log.exception("an exchange could not be recorded")
        return 0

    cdef int refused(self, Peer peer, int status, Py_ssize_t sent, str identity) except -1:
        cdef double now = clock()
        try:
            if self.words != NULL:
                self.count(self.refusals, OTHER << 16 | status & 0xFFFF, sent, now, now, False)
            if self.log is not None:
                self.log.line(None, peer, b"null", status, sent, now, now, False, identity)
        except Exception:
            log.exception("a refused request could not be recorded")
        return 0

    cdef int count(self, RouteSeries series, uint32_t key, Py_ssize_t sent, double began,
                   double ended, bint aborted) except -1:
        cdef Counts *counts = series.counts
        cdef Counts *end = counts + series.known
        while counts != end and counts.key != key:
            counts += 1
        if counts == end:
            counts = self.counts_of(series, key)
        counts.requests[0] += 1
        counts.requests[1] += sent
        if ended >= 0:
            self.take(counts.durations, max(ended - began, 0.0), aborted)
            return 0
        if self.opened_now == MOST_OPEN or began != self.turn_began:
            self.end_of_turn()
        self.turn_began = began
        self.open_ones[self.opened_now] = counts.durations
        self.opened_now += 1
        return 0
