"""`SubConnection` of the compiled build: see `subconnection.py`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from ember.protocol.server._connection cimport Connection
from ember.protocol.server._sink cimport Sink

from ember.protocol.server.codec import NO_CARRIER


cdef class CarrierSink(Sink):
    cdef object owner, carrier

    cdef int send(self, object data) except -1:
        self.carrier.sent(data)
        return 0

    cdef Py_ssize_t backlog(self) except -1:
        return self.carrier.unsent()

    cdef int pause_reading(self) except -1:
        self.carrier.pause_reading()
        return 0

    cdef int resume_reading(self) except -1:
        self.carrier.resume_reading()
        return 0

    cdef int close(self, bint linger) except -1:
        if self.owner is not None:
            self.owner._close()
        return 0

    cdef int abort(self) except -1:
        if self.owner is not None:
            self.owner._end(True)
        return 0


class SubConnection:
    """One exchange of a connection that has several at once; see `subconnection.py`."""

    def __init__(self, output, carrier):
        cdef Connection connection
        cdef CarrierSink sink = CarrierSink.__new__(CarrierSink)
        sink.owner = self
        sink.carrier = self._carrier = carrier
        self._ended = self._closes = False
        connection = self._connection = Connection(
            output.app, sink, limits=output.limits, client=output.client, scheme=output.scheme,
            strict_tasks=output.strict,
        )
        connection.tls = output.tls
        connection.context = output.context
        connection.retire()
        output.count_request()
        if output.loop is not None:
            connection.attach(output.loop, False)

    def feed(self, bytes data):
        """Bytes of the request, as HTTP/1.1 has them."""
        cdef Connection connection = self._connection
        connection.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def lost(self):
        """The peer has given this exchange up, or is gone."""
        self._end(False)

    def pause_writing(self):
        """The peer takes less than is sent: the producer waits."""
        cdef Connection connection = self._connection
        connection.pause_writing()

    def resume_writing(self):
        """The peer has caught up."""
        cdef Connection connection = self._connection
        if self._closes and not self._carrier.unsent():
            self._end(False)
        elif not self._ended:
            connection.resume_writing()

    def drain(self):
        """The server stops: no request that has not begun is answered."""
        cdef Connection connection = self._connection
        connection.drain_and_close()

    def _close(self):
        self._closes = True
        if not self._carrier.unsent():
            self._end(False)

    def _end(self, aborted):
        cdef Connection connection = self._connection
        cdef CarrierSink sink
        if not self._ended:
            self._ended = True
            carrier, self._carrier = self._carrier, NO_CARRIER
            # No circle stays behind; the sink still answers, to nobody.
            sink = connection.sink
            sink.owner = None
            sink.carrier = NO_CARRIER
            connection.lost()
            carrier.closed(aborted)
