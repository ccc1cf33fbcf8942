"""Where one answer ends and the next begins (RFC 9112 section 6.3); no more of them is kept."""

from __future__ import annotations

#: Bytes that a head may have.
MAX_HEAD = 65536
#: Heads that are remembered: those of one second are alike, and a server has few kinds.
_REMEMBERED = 64

#: Status, and whether the connection lives on.
Answer = tuple[int, bool]


class Malformed(Exception):
    """What came is no HTTP/1.1."""


class _Head:
    """What a head says about what follows: `length` -1 for chunks, -2 for until the end."""

    __slots__ = ("keep_alive", "length", "status")

    def __init__(self, status: int, keep_alive: bool, length: int) -> None:
        self.status = status
        self.keep_alive = keep_alive
        self.length = length


_CHUNKED, _UNTIL_CLOSE = -1, -2
# What is being read.
_IN_HEAD, _IN_BODY, _IN_SIZE, _IN_TRAILER, _IN_REST = range(5)


class Answers:
    """The answers on one connection, in order; `bodiless` where the requests are HEAD."""

    def __init__(self, bodiless: bool = False) -> None:
        self._bodiless = bodiless
        self._buffer = b""
        self._state = _IN_HEAD
        self._left = 0
        self._head = _Head(0, False, 0)
        self._known: dict[bytes, _Head] = {}

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that `data` completes. Raises Malformed."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        done: list[Answer] = []
        at, end = 0, len(data)
        while at < end:
            if self._state == _IN_BODY:
                taken = min(self._left, end - at)
                at += taken
                self._left -= taken
                if self._left == 0:
                    if self._head.length == _CHUNKED:
                        self._state = _IN_SIZE
                    else:
                        self._over(done)
            elif self._state == _IN_REST:
                return done
            else:
                mark = b"\r\n\r\n" if self._state == _IN_HEAD else b"\r\n"
                stop = data.find(mark, at)
                if stop < 0:
                    if end - at > MAX_HEAD:
                        raise Malformed("a head without end")
                    self._buffer = data[at:]
                    return done
                line = data[at:stop]
                at = stop + len(mark)
                self._line(line, done)
        return done

    def finish(self) -> list[Answer]:
        """The answer that the end of the connection completes."""
        done: list[Answer] = []
        if self._state == _IN_REST:
            self._over(done)
        return done

    def _over(self, done: list[Answer]) -> None:
        done.append((self._head.status, self._head.keep_alive))
        self._state = _IN_HEAD

    def _line(self, line: bytes, done: list[Answer]) -> None:
        """A head, the size of a chunk, or a line of the trailer."""
        if self._state == _IN_HEAD:
            head = self._known.get(line)
            if head is None:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                head = self._known[line] = _parse(line, self._bodiless)
            if head.status < 200:
                return  # 100 Continue, 103 Early Hints: the answer follows
            self._head = head
            if head.length == 0:
                self._over(done)
            elif head.length == _CHUNKED:
                self._state = _IN_SIZE
            elif head.length == _UNTIL_CLOSE:
                self._state = _IN_REST
            else:
                self._left = head.length
                self._state = _IN_BODY
        elif self._state == _IN_SIZE:
            size = line.partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise Malformed(f"a chunk of {size[:20]!r} bytes") from None
            self._left = length + 2  # with the line end behind it
            self._state = _IN_BODY if length else _IN_TRAILER
        elif not line:
            self._over(done)


def _parse(head: bytes, bodiless: bool) -> _Head:
    first, *lines = head.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit() or len(rest) < 3:
        raise Malformed(f"{first[:60]!r} is no status line of HTTP/1.1")
    status = int(rest[:3])
    if status == 101:
        raise Malformed("the server changed the protocol (101)")
    keep_alive = version == b"HTTP/1.1"
    length = _UNTIL_CLOSE
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip().lower()
        if name == b"content-length" and length != _CHUNKED:
            if not value.isdigit():
                raise Malformed(f"a Content-Length of {value[:20]!r}")
            length = int(value)
        elif name == b"transfer-encoding" and value.endswith(b"chunked"):
            length = _CHUNKED
        elif name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            keep_alive = b"keep-alive" in options or (keep_alive and b"close" not in options)
    if bodiless or status in (204, 304):
        length = 0
    return _Head(status, keep_alive and length != _UNTIL_CLOSE, length)
