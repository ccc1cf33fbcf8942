"""Where log lines go: a file, a pipe, a terminal. The loop never waits for it.

What the descriptor does not take is kept, KEPT bytes of it, and tried again; lines beyond that are
dropped whole and counted. So a full disk or a stopped reader of a pipe costs lines, not requests.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("ember.access")

#: Bytes that wait for a descriptor that does not take them.
KEPT = 1 << 20
#: Bytes that a pipe is asked to hold.
PIPE = 1 << 20
_END = ord("\n")
#: What a pipe takes whole or not at all, POSIX says; poll() promises room for so much.
ATOMIC = 512 if not hasattr(select, "PIPE_BUF") else select.PIPE_BUF


def _widen(pipe: int) -> None:
    """Let a pipe hold PIPE bytes: what a busy server writes at once does not fit into the 64 KiB
    that Linux gives one."""
    if sys.platform != "linux":
        return
    import fcntl

    try:
        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < PIPE:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
    except OSError as error:
        # The user's share of memory for pipes is used up; less is written at once.
        logger.debug("access log: the pipe stays as small as it is: %s", error.strerror)


class LogFile:
    """Lines for a path, which is made when it is not there and appended to, or for a descriptor.

    Opened by `open`, or by the first line. Several processes may append to one path: each write is
    whole lines, unless the disk is full. `transform` is what is done to lines before.
    """

    def __init__(
        self, target: str | int, transform: Callable[[bytes], bytes] | None = None
    ) -> None:
        self.target = target
        #: Lines that were lost because nobody took them.
        self.dropped = 0
        self._transform = transform
        self._rest = bytearray()
        #: `_rest` begins in the middle of a line.
        self._torn = False
        self._failing = False
        self._fd = -1
        self._own = False
        self._polled = False

    @property
    def waiting(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._rest)

    def open(self) -> None:
        """Open it unless it is open. Raises OSError, whose text names the path and the reason."""
        if self._fd < 0:
            self._open()

    def _open(self) -> None:
        target = self.target
        if isinstance(target, str):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            try:
                self._fd = os.open(target, flags, 0o644)
            except OSError as error:
                raise OSError(error.errno, f"access log {target}: {error.strerror}") from None
            self._own, self._polled = True, False
            return
        self._fd, self._own, self._polled = target, False, False
        mode = os.fstat(target).st_mode
        if stat.S_ISFIFO(mode):
            _widen(target)
        if not stat.S_ISREG(mode):
            # O_NONBLOCK belongs to the open file, which others have too (a shell, our own stderr):
            # an open file of our own where /proc gives one, else only as much as poll() promises.
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
                self._fd = os.open(f"/proc/self/fd/{target}", flags)
                self._own = True
            except OSError:
                self._polled = True

    def write(self, data: bytes | memoryview) -> None:
        """Write whole lines. Never raises, never waits; `data` is not kept."""
        lines = data
        if self._transform is not None:
            lines = self._transform(bytes(data))
        if self._fd < 0:
            try:
                self._open()
            except OSError as error:
                self.dropped += bytes(lines).count(b"\n")
                if not self._failing:
                    self._failing = True
                    logger.warning("%s", error.strerror)
                return
        if not self._rest:
            taken = self._send(lines)
            if taken == len(lines):
                self._failing = False
                return
            lines = lines[taken:]
        self._keep(bytes(lines))
        self.retry()

    def _keep(self, lines: bytes) -> None:
        room = KEPT - len(self._rest)
        if len(lines) > room:
            # Whole lines: up to the last end that there is room for.
            end = lines.rfind(b"\n", 0, max(room, 0)) + 1
            lost = lines.count(b"\n", end)
            lines = lines[:end]
            self.dropped += lost
            if not self._failing:
                self._failing = True
                logger.warning(
                    "access log %s is blocked: lines are dropped and counted until it recovers",
                    self.target,
                )
        self._rest += lines

    def retry(self) -> bool:
        """Try again what was not taken; True when nothing is left."""
        while self._rest:
            taken = self._send(self._rest)
            if not taken:
                return False
            del self._rest[:taken]
        self._failing = False
        return True

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes were taken."""
        if self._polled:
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not any(event & select.POLLOUT for _, event in poll.poll(0)):
                return 0
            data = data[:ATOMIC]
        try:
            taken = os.write(self._fd, data)
            if taken:
                self._torn = data[taken - 1] != _END
            return taken
        except OSError as error:
            if not isinstance(error, BlockingIOError | InterruptedError) and not self._failing:
                self._failing = True
                logger.warning("access log %s: %s", self.target, error.strerror or error)
            return 0

    def reopen(self) -> None:
        """Open the path again, after something has moved the file away. A descriptor stays.

        When that fails, the old file goes on and the log says so.
        """
        if not isinstance(self.target, str):
            return
        self.retry()
        old = self._fd
        try:
            self._open()
        except OSError as error:
            logger.warning("%s; the old file stays in use", error.strerror)
        else:
            if self._torn:
                # The first half of this line is in the old file.
                del self._rest[: self._rest.find(b"\n") + 1]
                self.dropped += 1
                self._torn = False
            os.close(old)

    def close(self) -> None:
        """Write what is left, as far as it is taken now, and close."""
        if self._fd < 0:
            return
        self.retry()
        self.dropped += self._rest.count(b"\n")
        self._rest.clear()
        if self._own:
            os.close(self._fd)
        self._fd, self._own = -1, False
