"""Responses that the connection gives by itself: found by the bytes of the request line, given to
the host and scheme that they were made for.

Kept are whole 200s for GET, and for HEAD without the body. Whoever keeps one says until when, and
may take it back at any time; a look-up is one bytes object, one dict, one look at the clock.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcmp, memcpy

from ember.protocol.server.pure.kept import split_head

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


cdef enum:
    MOST_HOSTS = 8      # responses of one target; one more takes the place of the oldest


cdef double monotonic() noexcept:
    return ember_monotonic()


cdef class Tally:
    """Counts `hits`: how often a stored response was given; shared by those it is handed in with.

    `route`: what an observer is told as the route of these."""

    def __repr__(self):
        return f"<Tally {self.hits}>"


cdef class Kept:
    """One stored response, for whoever has it kept."""

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
        cdef Kept before
        self.home = None
        if home is None:
            return
        before = home.responses.get(self.target)
        if before is self:
            if self.other is None:
                del home.responses[self.target]
            else:
                home.responses[self.target] = self.other
            return
        while before is not None:
            if before.other is self:
                before.other = self.other
                return
            before = before.other


cdef class KeptAnswers:
    """The responses of one application that need no request, `app.kept_answers`.

    A request that says more than its target (credentials, conditions, ranges, cache directives, an
    absolute form, a body) is not answered from here. Belongs to one thread.
    """

    def __init__(self):
        self.responses = {}

    def __len__(self):
        cdef Kept kept
        cdef Py_ssize_t count = 0
        for kept in self.responses.values():
            while kept is not None:
                count += 1
                kept = kept.other
        return count

    def keep(self, bytes target, response, *, bytes host, str scheme, double stored_at,
             double fresh_until, Tally tally):
        """Give `response`, whose last field is Age, to GET and HEAD of `target`.

        `target`: `b"GET /path?query"`. `host`: the Host field that it is for, in lower case; who
        spells it in another way is left to the application. `scheme`: `"http"` or `"https"`, the
        object that `request.scheme` gives. Until `fresh_until`; Age counts from `stored_at`; both
        in seconds of `time.monotonic()`. Gives a `Kept`; None for a response that cannot be kept: a
        stream, a Date of its own, `Connection: close`, a head of more than 4 KiB. Of one target
        eight are kept, each for a host and scheme of its own; the oldest is forgotten first.
        """
        parts = split_head(response)
        if parts is None or not target.startswith(b"GET /"):
            return None
        cdef Kept kept = Kept.__new__(Kept), there, old = None
        cdef Py_ssize_t count = 0
        kept.head, kept.tail = parts
        kept.target = target
        kept.host = host
        kept.scheme = scheme
        kept.body = response.body
        kept.stored_at = stored_at
        kept.fresh_until = fresh_until
        kept.tally = tally
        kept.home = self
        there = self.responses.get(target)
        while there is not None:
            count += 1
            if there.host == host and there.scheme == scheme:
                old = there
                break
            if there.other is None and count == MOST_HOSTS:
                old = there
            there = there.other
        if old is not None:
            old.forget()
        kept.other = self.responses.get(target)
        self.responses[target] = kept
        return kept

    def clear(self, Tally tally=None):
        """Forget all, or those that were kept with `tally`."""
        cdef Kept kept, other
        for kept in list(self.responses.values()):
            while kept is not None:
                other = kept.other
                if tally is None or kept.tally is tally:
                    kept.forget()
                kept = other

    cdef Kept find(self, const char *line, uint32_t method_len, uint32_t target_len,
                   const char *host, uint32_t host_len, str scheme, double now):
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
        found = PyDict_GetItemWithError(self.responses, target)
        if found == NULL:
            return None
        kept = <Kept><object>found
        # A response may name the host and the scheme that it was asked by.
        while not (kept.scheme is scheme and PyBytes_GET_SIZE(kept.host) == host_len
                   and memcmp(PyBytes_AS_STRING(kept.host), host, host_len) == 0):
            kept = kept.other
            if kept is None:
                return None
        if now >= kept.fresh_until:
            kept.forget()
            return None
        kept.hits += 1
        kept.tally.hits += 1
        return kept
