# Whole responses, written where they are sent from: see _whole_response.pyx.
from ember.protocol.server._output cimport HTTPOutput
from ember.protocol.server._kept cimport Kept
from ember.protocol.server._sink cimport Sink

cdef enum:
    FIELDS_MAX = 4096       # bytes of `fields`

# The status `line`, Content-Type `kind` (checked; NULL: none), `fields` (lines as they are sent;
# None: none), the fields of the framing (size -1: no length and no body, as 304 has it), and
# `data`; `body` is the object that holds `data`, if one does. Flushed unless a batch is at work.
cdef int write_whole(HTTPOutput output, bytes line, const char *kind, Py_ssize_t kind_size,
                     bytes fields, const char *data, Py_ssize_t size, bytes body, bint keep,
                     bint http10, bint only_head) except -1
# A stored response, its Age counted up to `now`.
cdef int write_kept(HTTPOutput output, Kept kept, double now, bint keep, bint http10,
                    bint only_head) except -1
# Whether `text` may stand in a field as it is.
cdef bint plain(const char *text, Py_ssize_t size) noexcept
