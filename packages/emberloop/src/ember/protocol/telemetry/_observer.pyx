"""`Observer` of the compiled build: told of every exchange when it is over."""

import logging

from ember._interrupts import from_signal

cdef extern from *:
    """
    #include <time.h>
    static double ember_now(void)
    {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
    }
    """
    double ember_now() nogil

log = logging.getLogger("ember.protocol")


cdef double clock() noexcept:
    return ember_now()


cdef class Peer:
    pass


cdef Peer make_peer(object client):
    cdef Peer peer = Peer.__new__(Peer)
    peer.client = client
    return peer


cdef class Observer:
    """Told of every exchange: subclass it, and give the application an `observer`."""

    def finished(self, request, client, status, sent, began, ended, aborted):
        """An exchange is over; see the pure build's `Observer`."""

    cdef int attach(self, object loop) except -1:
        return 0

    cdef int opened(self) except -1:
        return 0

    cdef int closed(self) except -1:
        return 0

    cdef double begin(self) except? -1:
        return ember_now()

    cdef int done(self, Request request, Peer peer, int status, Py_ssize_t sent, double began,
                  bint aborted) except -1:
        try:
            self.finished(request, peer.client, status, sent, began, ember_now(), aborted)
        except BaseException as error:
            if from_signal(error):
                raise
            log.exception("the observer failed")
        return 0

    cdef int refused(self, Peer peer, int status, Py_ssize_t sent, str identity) except -1:
        cdef double now = ember_now()
        try:
            self.finished(None, peer.client, status, sent, now, now, False)
        except BaseException as error:
            if from_signal(error):
                raise
            log.exception("the observer failed")
        return 0
