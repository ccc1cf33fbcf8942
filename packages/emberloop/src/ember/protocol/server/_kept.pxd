# Responses that are given before a request is made: see _kept.pyx.
from libc.stdint cimport uint32_t


cdef class Tally:
    cdef public long long hits
    cdef public object route


cdef class Kept:
    cdef KeptAnswers home               # None once it was forgotten
    cdef Kept other                     # the same target of another host or scheme
    cdef bytes target, host, head, tail, body
    cdef str scheme
    cdef double stored_at, fresh_until  # seconds of the monotonic clock
    cdef long long hits
    cdef Tally tally


cdef class KeptAnswers:
    cdef dict responses                 # "GET /path?query" as bytes, to the first Kept of them
    # The fresh response for the method and target at `line`, asked of `host` by `scheme`, or None;
    # one that is over is forgotten.
    cdef Kept find(self, const char *line, uint32_t method_len, uint32_t target_len,
                   const char *host, uint32_t host_len, str scheme, double now)

# The clock of the stored responses.
cdef double monotonic() noexcept
