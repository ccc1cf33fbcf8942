"""Answers that the connection gives by itself: found by the bytes of the request line.

Kept are whole 200s for GET, and for HEAD without the body. Whoever keeps one says until when, and
may take it back at any time; a look-up is one bytes object, one dict, one look at the clock.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.string cimport memcmp, memcpy

from ember.protocol.pure.kept import split_head

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL

cdef extern from *:
    """
    #include <time.h>

    static double ember_monotonic(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }
    """
    double ember_monotonic() noexcept


cdef double monotonic() noexcept:
    return ember_monotonic()


cdef class Tally:
    """Counts `hits`: how often a kept answer was given; shared by those it is handed in with.

    `route`: what an observer is told as the route of these."""

    def __repr__(self):
        return f"<Tally {self.hits}>"


cdef class Kept:
    """One kept answer, for whoever has it kept."""

    @property
    def alive(self):
        """Whether it may still be given."""
        return self.home is not None

    def take_hits(self):
        """How often it was given since the last call."""
        cdef long long hits = self.hits
        self.hits = 0
        return hits

    def forget(self):
        """Give it no more, from the next request on."""
        cdef KeptAnswers home = self.home
        self.home = None
        if home is not None and home.answers.get(self.target) is self:
            del home.answers[self.target]


cdef class KeptAnswers:
    """The answers of one application that need no request, `app.kept_answers`.

    A request that says more than its target (credentials, conditions, ranges, cache directives, an
    absolute form, a body) is not answered from here. Belongs to one thread.
    """

    def __init__(self):
        self.answers = {}

    def __len__(self):
        return len(self.answers)

    def keep(self, bytes target, response, *, double stored_at, double fresh_until, Tally tally):
        """Give `response`, whose last field is Age, to GET and HEAD of `target`.

        `target`: `b"GET /path?query"`. Until `fresh_until`; Age counts from `stored_at`; both in
        seconds of `time.monotonic()`. Gives a `Kept`; None for an answer that cannot be kept: a
        stream, a Date of its own, `Connection: close`, a head of more than 4 KiB.
        """
        parts = split_head(response)
        if parts is None or not target.startswith(b"GET /"):
            return None
        cdef Kept kept = Kept.__new__(Kept)
        kept.head, kept.tail = parts
        kept.target = target
        kept.body = response.body
        kept.stored_at = stored_at
        kept.fresh_until = fresh_until
        kept.tally = tally
        kept.home = self
        old = self.answers.get(target)
        if old is not None:
            old.forget()
        self.answers[target] = kept
        return kept

    def clear(self, Tally tally=None):
        """Forget all, or those that were kept with `tally`."""
        for kept in list(self.answers.values()):
            if tally is None or (<Kept>kept).tally is tally:
                kept.forget()

    cdef Kept find(self, const char *line, uint32_t method_len, uint32_t target_len, double now):
        cdef bytes target
        cdef PyObject *found
        cdef Kept kept
        if method_len == 3 and memcmp(line, b"GET", 3) == 0:
            target = PyBytes_FromStringAndSize(line, 4 + target_len)
        elif method_len == 4 and memcmp(line, b"HEAD", 4) == 0:
            target = PyBytes_FromStringAndSize(NULL, 4 + target_len)
            memcpy(PyBytes_AS_STRING(target), b"GET", 3)
            memcpy(PyBytes_AS_STRING(target) + 3, line + 4, 1 + target_len)
        else:
            return None
        found = PyDict_GetItemWithError(self.answers, target)
        if found == NULL:
            return None
        kept = <Kept><object>found
        if now >= kept.fresh_until:
            kept.forget()
            return None
        kept.hits += 1
        kept.tally.hits += 1
        return kept
