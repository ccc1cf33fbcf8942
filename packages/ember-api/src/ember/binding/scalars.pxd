# cython: language_level=3
# How parameters become numbers and booleans: the types with which scalars.py is compiled.
cimport cython


@cython.locals(size=cython.Py_ssize_t, number=cython.longlong, letter=cython.Py_UCS4)
cpdef object parse_int(str text)

cpdef object parse_float(str text)

cpdef object parse_bool(str text)

cpdef object parse_bool_or(str text)
