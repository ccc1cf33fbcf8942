# cython: language_level=3
# No variables of _response.py: every module that cimports from here would look them up.


cdef class Response:
    cdef dict __dict__
    cdef object __weakref__
    cdef public bytes body
    cdef public int status_code
    cdef public object stream           # what is sent piece by piece instead of `body`
    cdef public object _headers
    cdef public object _shared          # fields that other responses have too, unless `_headers` is
    cdef public object _content_type


cdef Response _filled(
    Response response, bytes body, int status_code, object content_type, object shared
)
