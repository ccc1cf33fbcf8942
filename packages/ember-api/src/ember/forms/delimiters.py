"""Removes what the multipart parser does not support: a preamble, and white space after delimiters.

RFC 2046 section 5.1.1 allows both, and a receiver has to ignore them.
"""

from __future__ import annotations

_PADDING = b" \t"


class Delimiters:
    """Takes the body in pieces of any size, and gives it without preamble and padding.

    Bytes that may be the start of a delimiter are held back until more bytes arrive: at most the
    length of a delimiter.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        #: A line break as if before the body: the body may begin with a delimiter.
        self._kept = b"\r\n"
        self._begun = False
        #: Whether padding after a delimiter is being skipped.
        self._behind = False

    def feed(self, data: bytes) -> bytes:
        """Take `data`. Returns the bytes that are certain."""
        data = self._kept + data
        self._kept = b""
        out: list[bytes] = []
        at = 0
        delimiter = self._delimiter
        while True:
            if self._behind:
                while data[at : at + 1] and data[at] in _PADDING:
                    at += 1
                if at == len(data):
                    break
                self._behind = False
            end = data.find(delimiter, at)
            if end < 0:
                keep = _begins(data, at, delimiter)
                if self._begun:
                    out.append(data[at : len(data) - keep])
                self._kept = data[len(data) - keep :]
                break
            if self._begun:
                out.append(data[at : end + len(delimiter)])
            else:
                self._begun = True
                out.append(delimiter[2:])
            at = end + len(delimiter)
            self._behind = True
        return b"".join(out)

    def finish(self) -> bytes:
        """The bytes that were held back."""
        return self._kept if self._begun else b""


def _begins(data: bytes, at: int, delimiter: bytes) -> int:
    """How many bytes at the end of `data[at:]` may be the start of a delimiter."""
    start = data.find(b"\r", max(at, len(data) - len(delimiter) + 1))
    while start >= 0:
        if delimiter.startswith(data[start:]):
            return len(data) - start
        start = data.find(b"\r", start + 1)
    return 0
