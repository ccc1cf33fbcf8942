# Types for the compiled build of store.py: a hit is one dict look-up and two stores.

cimport cython


cdef class Entry:
    cdef public object key
    cdef public object value
    cdef public object tags
    cdef public object copy
    cdef public double stored_at
    cdef public double fresh_until
    cdef public double stale_until
    cdef public double error_until
    cdef public double retry_at
    cdef public bint seen
    cdef public Entry older
    cdef public Entry newer

    cpdef bint dead(self, double now) except -1


cdef class Store:
    cdef readonly Py_ssize_t max_entries
    cdef readonly object clock
    cdef public long long hits
    cdef public long long stored
    cdef public long long evicted
    cdef public long long expired
    cdef readonly dict _map
    cdef readonly dict _by_tag
    cdef readonly Entry _newest
    cdef readonly Entry _oldest
    cdef readonly Entry _hand

    @cython.locals(entry=Entry, now=double)
    cpdef Entry hit(self, key)

    @cython.locals(entry=Entry)
    cpdef Entry get(self, key)

    @cython.locals(entry=Entry, old=Entry, now=double)
    cpdef Entry put(
        self,
        key,
        value,
        double ttl,
        double stale_while_revalidate=*,
        double stale_if_error=*,
        tags=*,
        double age=*,
    )

    cdef int _count(self, Entry entry) except -1

    @cython.locals(entry=Entry, steps=int)
    cdef int _evict(self, double now) except -1

    @cython.locals(keys=set)
    cdef int _remove(self, Entry entry) except -1
