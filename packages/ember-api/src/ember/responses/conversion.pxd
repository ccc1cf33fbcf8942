# cython: language_level=3
# What a handler returned as a response: the types with which into_response.py is compiled.

cpdef bytes encode_json(object value)

cpdef object convert(object value, int status=*, str owner=*)

cdef object _from_tuple(tuple value, str owner)

cdef bytes _json(object value, str owner)
