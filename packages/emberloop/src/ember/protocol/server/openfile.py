"""Files that are sent: `OpenFile`, and `FilePart`, a piece of a response that is part of one."""

from __future__ import annotations

import errno
import os
import stat

from ember.protocol.server.threadpool import run_short

#: Bytes that are read, and sent, at once where the kernel cannot send them by itself.
CHUNK = 262144
#: Bytes from one look into the page cache to the next.
_LOOK = 1 << 20
#: Bytes that the kernel is asked to send at once; before, it is made sure that they are in memory.
WINDOW = 1 << 22

# Reads what is in the page cache and nothing else: no thread is needed for what cannot wait.
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


# O_NONBLOCK: a pipe in the place of a file must not hold us before it is recognized.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
# A folder that is only gone through need not be readable.
_FOLDER = (
    getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
)


class OpenFile:
    """A regular file, open for reading until `close`, or until nobody has it any more.

    `root`: a folder that `path` begins with; below it no symbolic link is followed, whatever was
    seen there before.

    Raises FileNotFoundError and PermissionError as `open` does, IsADirectoryError for a folder, and
    OSError for a link and what is no regular file.
    """

    # With slots the end of it needs no memory.
    __slots__ = ("__weakref__", "_buffer", "_fd", "status")

    def __init__(self, path: str, root: str | None = None) -> None:
        self._fd = -1
        self._buffer: bytearray | None = None
        self._fd = os.open(path, _READ) if root is None else _open_below(root, path)
        self.status = os.fstat(self._fd)
        if stat.S_ISDIR(self.status.st_mode):
            self.close()
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(self.status.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file", path)

    def fileno(self) -> int:
        """The descriptor. Raises ValueError after `close`."""
        if self._fd < 0:
            raise ValueError("the file is closed")
        return self._fd

    async def read(self, size: int, offset: int) -> bytes:
        """Up to `size` (at most CHUNK) bytes at `offset`; in a thread when the disk is slow."""
        if self._buffer is None:
            self._buffer = bytearray(CHUNK)
        view = memoryview(self._buffer)[:size]
        count = self._read_cached(view, offset)
        if count > 0:
            return bytes(view[:count])
        return await run_short(self.read_now, size, offset)

    def read_now(self, size: int, offset: int) -> bytes:
        """`read`, waiting here."""
        return os.pread(self._fd, size, offset)

    async def warm(self, size: int, offset: int) -> None:
        """Have `size` bytes at `offset` read from the disk, in a thread, unless they are in memory.

        Looks at the last of them and at one in every MiB before: what was read before was most
        often read in a row. A file system that cannot tell (some in memory, some over the network)
        is believed to be fast.
        """
        byte = bytearray(1)
        for at in (*range(offset, offset + size, _LOOK), offset + size - 1):
            if self._read_cached(byte, at) < 0:
                await run_short(self._read_through, offset + size - at, at)
                return

    def _read_cached(self, into: bytearray | memoryview, offset: int) -> int:
        """Bytes read without waiting; -1: it would have to wait; 0: end of file, or not known."""
        if _NOWAIT is None:
            return 0
        try:
            return os.preadv(self._fd, [into], offset, _NOWAIT)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return -1
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            return 0

    def _read_through(self, size: int, offset: int) -> None:
        """Read and forget: afterwards it is in the page cache."""
        buffer = bytearray(min(size, CHUNK))
        end = offset + size
        while offset < end:
            count = os.preadv(self._fd, [memoryview(buffer)[: end - offset]], offset)
            if not count:
                return
            offset += count

    def close(self) -> None:
        """Close it; a second call does nothing."""
        fd = self._fd
        if fd >= 0:
            self._fd = -1
            os.close(fd)

    __del__ = close


def _open_below(root: str, path: str) -> int:
    """A descriptor of `path`, that begins with `root`, by a walk on which a link is an error: a
    look before opening would be over when somebody puts a link there."""
    if os.open not in os.supports_dir_fd or not _NO_LINK:
        return _open_and_look(root, path)
    names = path[len(root) :].strip(os.sep).split(os.sep)
    folder = os.open(root, _FOLDER)
    try:
        for name in names[:-1]:
            below = os.open(name, _FOLDER | _NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(names[-1], _READ | _NO_LINK, dir_fd=folder)
    finally:
        os.close(folder)


def _open_and_look(root: str, path: str) -> int:
    """The same where folders have no descriptors: opened first, then looked at where that is."""
    fd = os.open(path, _READ)
    try:
        real = os.path.realpath(path, strict=True)
        if os.path.relpath(real, os.path.realpath(root)) != os.path.relpath(
            path, root
        ) or not os.path.samestat(os.fstat(fd), os.stat(path)):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    except BaseException:
        os.close(fd)
        raise
    return fd


class FilePart:
    """The bytes of `file` from `offset` to before `end`."""

    __slots__ = ("end", "file", "offset")

    def __init__(self, file: OpenFile, offset: int, end: int) -> None:
        self.file = file
        self.offset = offset
        self.end = end

    def __len__(self) -> int:
        return self.end - self.offset


class FileShortened(RuntimeError):
    """A file has fewer bytes than were announced: it became shorter while it was sent."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the file became shorter while it was sent: {offset} bytes")
