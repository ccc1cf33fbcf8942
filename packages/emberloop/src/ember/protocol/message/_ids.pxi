# Random ids of requests, 16 hexadecimal digits: unique, no secret.

import os

from libc.stdint cimport uint64_t

# SplitMix64 from a random start: a system call for each would cost more than the rest of a line of
# the log. Its period is 2**64, and no value comes twice in it.
cdef uint64_t id_state = 0
cdef const char *HEX = b"0123456789abcdef"


def _new_ids():
    global id_state
    id_state = int.from_bytes(os.urandom(8), "little")


_new_ids()
# A child of a fork would give the same ids as its parent.
os.register_at_fork(after_in_child=_new_ids)


cdef void fill_id(char *to) noexcept:
    global id_state
    cdef uint64_t z
    cdef int i
    id_state += <uint64_t>0x9e3779b97f4a7c15
    z = id_state
    z = (z ^ (z >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * <uint64_t>0x94d049bb133111eb
    z = z ^ (z >> 31)
    for i in range(16):
        to[i] = HEX[(z >> (60 - 4 * i)) & 15]
