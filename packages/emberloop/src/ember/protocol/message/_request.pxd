# The request of the compiled connection: see _request.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "http1.h" nogil:
    enum:
        H1_MORE
        H1_HEAD
        H1_ERROR
        H1_HOST, H1_LENGTH, H1_CHUNKED, H1_CLOSE, H1_KEEP_ALIVE, H1_CONTINUE, H1_UPGRADE
        H1_ABSOLUTE, H1_ENCODED, H1_BYPASSES_CACHE
    ctypedef struct h1_limits:
        uint32_t max_target, max_head, max_fields
    ctypedef struct h1_head:
        int64_t content_length
        const char *reason
        uint32_t pos, start, method_len, target, target_len, path, path_len, query, query_len
        uint32_t host, host_len, fields, count
        uint16_t status, flags
        uint8_t minor
    ctypedef struct h1_pair:
        const char *name
        const char *value
        uint32_t name_len, value_len
    void h1_reset(h1_head *h)
    int h1_parse(h1_head *h, const char *data, uint32_t size, const h1_limits *limits)
    int h1_next_field(const char **p, const char *end, h1_pair *pair)


cdef class Request:
    cdef h1_head head
    cdef bytes raw                      # the head as received
    cdef readonly object client, scheme
    cdef public object tls
    cdef public object app, route, limits
    cdef object _path_params, _context, _state, _id, _method, _path, _args, _headers, _cookies
    cdef public object _after           # callbacks to await after the response
    cdef object content                 # the whole body once it is known
    cdef object source                  # the Body that delivers it, None when content is known
    cdef public bint _lost
    cdef bint decoded                   # a Content-Encoding was undone, or need not be
    cdef bint given                     # body() or json() was asked for: the body is kept
    cdef object whole                   # what gathers the body while it arrives
    cdef object __weakref__
    cdef int decode(self) except -1
    cdef inline bytes cut(self, uint32_t at, uint32_t size)

cdef Request make_request(h1_head *head, const char *data, object client, object scheme)
cdef object DEFAULT_LIMITS
# A random id, 16 hexadecimal digits, at `to`.
cdef void fill_id(char *to) noexcept
