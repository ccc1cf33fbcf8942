# Counts and logs exchanges: see _recorder.pyx.
from libc.stdint cimport uint32_t, uint64_t

from ember.eventloop._handles cimport Runnable
from ember.eventloop._stream cimport CoreLoop
from ember.protocol.telemetry._accesslog cimport MOST_OPEN, AccessLog
from ember.protocol.telemetry._observer cimport Observer
from ember.protocol.message._request cimport Request

cdef struct Counts:
    uint32_t key            # method and status
    uint64_t *requests
    uint64_t *durations


cdef class RouteSeries:
    """A route: what it is called, and where its exchanges are counted."""
    cdef str label
    cdef bytes json
    cdef Counts *counts
    cdef int known


cdef class Recorder(Observer):
    cdef readonly object series
    cdef readonly AccessLog log
    cdef object view                # keeps the memory of `words`
    cdef uint64_t *words            # NULL: nothing is counted
    cdef dict by_route              # RouteSeries by route
    cdef RouteSeries refusals             # what was refused before there was a request
    cdef object loop
    cdef CoreLoop core
    # Exchanges of this turn, begun with it: how long they took is known when it ends.
    cdef uint64_t *open_ones[MOST_OPEN]
    cdef int opened_now
    cdef double turn_began
    cdef Runnable at_end
    cdef bint posted

    cdef int end_of_turn(self) except -1
    cdef int take(self, uint64_t *durations, double took, bint aborted) noexcept
    cdef int count(self, RouteSeries series, uint32_t key, Py_ssize_t sent, double began,
                   double ended, bint aborted) except -1
    cdef RouteSeries series_of(self, object route)
    cdef Counts *counts_of(self, RouteSeries series, uint32_t key) except NULL
