# cython: language_level=3
# Query strings and urlencoded forms: the types with which query.py is compiled.
cimport cython


@cython.locals(
    pairs=list, text=str, part=str, name=str, value=str, at=cython.Py_ssize_t, encoded=cython.bint
)
cpdef list parse_query(bytes query)

cpdef str decode(str text)


cdef class QueryParams:
    cdef list _pairs
    cdef dict _index

    @cython.locals(pair=tuple, values=list)
    cpdef object get(self, str name, object default=*)

    @cython.locals(pair=tuple)
    cpdef list get_all(self, str name)

    cpdef list items(self)

    cpdef list keys(self)


cpdef dict index_of(list pairs)
