"""What can fail, and how: the calls that the compiled code makes, with the errors of their manual
pages that a system in trouble gives. Errors of a wrong program (EBADF, EFAULT, EINVAL) are left
out, but where a kernel that is too old or forbids a call gives them.
"""

from __future__ import annotations

from errno import (
    EAGAIN,
    EBUSY,
    ECONNABORTED,
    ECONNRESET,
    EHOSTUNREACH,
    EINTR,
    EINVAL,
    EIO,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTCONN,
    EPERM,
    EPIPE,
    EPROTO,
    ETIMEDOUT,
)

#: The call does a part of what it was asked for.
SHORT = 0
_GONE = (ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH)
_ACCEPT = (EAGAIN, EINTR, ECONNABORTED, EPERM, EPROTO, EMFILE, ENFILE, ENOBUFS, ENOMEM)

#: While connections are served.
SERVING: dict[str, tuple[int, ...]] = {
    "io_uring_enter": (EAGAIN, EBUSY, EINTR, ENOMEM),
    "ring accept": _ACCEPT,
    "ring recv": (ECONNRESET, ETIMEDOUT, ENOMEM, ENOBUFS, EINTR),
    "ring send": (SHORT, *_GONE, EAGAIN, EINTR, ENOBUFS, ENOMEM),
    "ring poll": (ENOMEM,),
    "epoll_pwait2": (EINTR, ENOSYS, EPERM),
    "epoll_wait": (EINTR,),
    "epoll_ctl": (ENOMEM, ENOSPC),
    "accept4": _ACCEPT,
    "recv": (EAGAIN, EINTR, ECONNRESET, ETIMEDOUT, ENOMEM),
    "send": (SHORT, EAGAIN, EINTR, *_GONE, ENOBUFS, ENOMEM),
    "sendmsg": (SHORT, EAGAIN, EINTR, *_GONE, ENOBUFS, ENOMEM),
    "sendfile": (SHORT, EAGAIN, EINTR, EIO, ENOMEM, ECONNRESET),
    "shutdown": (ENOTCONN, ENOBUFS),
    "write": (EAGAIN, EINTR),
    "close": (EINTR, EIO),
    "malloc": (ENOMEM,),
    "calloc": (ENOMEM,),
    "realloc": (ENOMEM,),
}

#: While a loop is made, runs for the first time, and ends.
LIVING: dict[str, tuple[int, ...]] = {
    **SERVING,
    "io_uring_setup": (EPERM, ENOSYS, ENOMEM, EMFILE, EINVAL),
    "io_uring_register": (ENOMEM, EINVAL, EBUSY),
    "mmap": (ENOMEM, EAGAIN, EPERM),
    "madvise": (ENOMEM, EAGAIN),
    "epoll_create1": (EMFILE, ENFILE, ENOMEM),
    "eventfd": (EMFILE, ENFILE, ENOMEM),
}

#: Python's allocations. (JSON is not among what is asked for: orjson ends the process when it gets
#: no memory.)
ALLOCATIONS: dict[str, tuple[int, ...]] = {"python": (ENOMEM,)}
