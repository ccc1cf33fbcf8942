# The compiled connection: see _connection.pyx.
from ember.protocol.server._ending cimport EndingOutput
from ember.protocol.server._kept cimport KeptAnswers
from ember.protocol.message._request cimport h1_head, h1_limits


cdef class Connection(EndingOutput):
    cdef KeptAnswers kept               # what is answered without a request; None: nothing is
    cdef h1_head head
    cdef h1_limits bounds
    cdef bint reading, head_only

    cdef int feed(self, char *data, Py_ssize_t size) except -1
    cdef int resume_writing(self) except -1
    cpdef int drain_and_close(self) except -1
    cdef int go_on(self) except -1
    cdef Py_ssize_t serve(self, char *data, Py_ssize_t size, bint buffered) except -1
    cdef bint serve_cached(self, char *data) except -1
    cdef Py_ssize_t begin(self, char *data, Py_ssize_t size, bint buffered) except -1
    cdef int refuse_with(self, object error) except -1
    cdef int update_flow_control(self) except -1
    cdef int feed_codec(self, char *data, Py_ssize_t size) except -1
    cdef int start_codec(self) except -1
