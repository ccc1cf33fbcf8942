# What a request's fields say, read where they lie in its head: `at` is where they begin in `raw`.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeLatin1
from libc.string cimport memcmp
from posix.strings cimport strncasecmp

cdef str JSON = "application/json"


cdef list raw_fields(bytes raw, uint32_t at):
    """(name, value) of each, as received."""
    cdef const char *p = PyBytes_AS_STRING(raw) + at
    cdef const char *end = PyBytes_AS_STRING(raw) + PyBytes_GET_SIZE(raw)
    cdef h1_pair pair
    cdef list fields = []
    while h1_next_field(&p, end, &pair):
        fields.append((
            PyBytes_FromStringAndSize(pair.name, pair.name_len),
            PyBytes_FromStringAndSize(pair.value, pair.value_len),
        ))
    return fields


cdef int conditions_in(bytes raw, uint32_t at) noexcept:
    """1 for If-None-Match, 2 for If-Modified-Since, 4 for Range and the other conditions."""
    cdef const char *p = PyBytes_AS_STRING(raw) + at
    cdef const char *end = PyBytes_AS_STRING(raw) + PyBytes_GET_SIZE(raw)
    cdef h1_pair pair
    cdef int found = 0
    while h1_next_field(&p, end, &pair):
        if pair.name_len > 3 and pair.name[2] == 45 and pair.name[0] | 32 == 105 \
                and pair.name[1] | 32 == 102:
            if pair.name_len == 13 and strncasecmp(pair.name, "if-none-match", 13) == 0:
                found |= 1
            elif pair.name_len == 17 and strncasecmp(pair.name, "if-modified-since", 17) == 0:
                found |= 2
            else:
                found |= 4
        elif pair.name_len == 5 and strncasecmp(pair.name, "range", 5) == 0:
            found |= 4
    return found


cdef str joined_values(bytes raw, uint32_t at, str name):
    """The values of all fields called `name`, with commas between them; None without one."""
    cdef const char *p = PyBytes_AS_STRING(raw) + at
    cdef const char *end = PyBytes_AS_STRING(raw) + PyBytes_GET_SIZE(raw)
    cdef Py_ssize_t size
    cdef const char *wanted = PyUnicode_AsUTF8AndSize(name, &size)
    cdef h1_pair pair
    cdef str found = None
    while h1_next_field(&p, end, &pair):
        if pair.name_len == size and strncasecmp(pair.name, wanted, size) == 0:
            value = PyUnicode_DecodeLatin1(pair.value, pair.value_len, NULL)
            found = value if found is None else f"{found}, {value}"
    return found


cdef str media_type(bytes raw, uint32_t at):
    """That of the Content-Type, lower case, without parameters; empty without one."""
    cdef const char *p = PyBytes_AS_STRING(raw) + at
    cdef const char *end = PyBytes_AS_STRING(raw) + PyBytes_GET_SIZE(raw)
    cdef h1_pair pair
    while h1_next_field(&p, end, &pair):
        if pair.name_len == 12 and strncasecmp(pair.name, "content-type", 12) == 0:
            # What nearly every body is, without making a string of it.
            if pair.value_len == 16 and memcmp(pair.value, "application/json", 16) == 0:
                return JSON
            value = PyUnicode_DecodeLatin1(pair.value, pair.value_len, NULL)
            return value.partition(";")[0].strip(" \t").lower()
    return ""
