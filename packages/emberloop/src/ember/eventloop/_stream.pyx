# cython: language_level=3
"""Streams, listeners and the turn of the loop, over io_uring or epoll.

One turn: apply the updates (arm, cancel, close), send what was written, wait, hand out what
arrived, run what is ready. Submission entries are made only between `apply_updates` and the wait,
never while callbacks run: so an entry never speaks of a descriptor that a callback closed and the
kernel gave away again, and a ring can be thrown away and made again (fork, another thread) by
forgetting what was armed.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from ember.eventloop._handles cimport (
    Handle, Runnable, TimerHandle, heap_pop, heap_push,
)

import os
import sys
import weakref

include "_system.pxi"
include "_states.pxi"
include "_core.pxi"
include "_streams.pxi"
include "_completions.pxi"
include "_outbox.pxi"
include "_sendfile.pxi"
include "_listener.pxi"
