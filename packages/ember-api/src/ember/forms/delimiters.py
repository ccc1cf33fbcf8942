"""Between the body of a multipart form and its parser: what RFC 2046 lets stand around delimiters.

A preamble before the first delimiter is to be ignored, and so is white space behind a delimiter
(section 5.1.1); the parser knows neither.
"""

from __future__ import annotations

_PADDING = b" \t"


class Delimiters:
    """Bytes of a body in, however they are cut; the same without preamble and padding out.

    What may be the beginning of a delimiter is kept until more is there: at most as many bytes as a
    delimiter has.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        #: As if a line break stood before the body: its first delimiter may begin it.
        self._kept = b"\r\n"
        self._begun = False
        #: The bytes behind a delimiter are being passed over.
        self._behind = False

    def feed(self, data: bytes) -> bytes:
        """What is certain after `data`."""
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
        """What was kept."""
        return self._kept if self._begun else b""


def _begins(data: bytes, at: int, delimiter: bytes) -> int:
    """How many bytes at the end of `data`, from `at` on, may begin a delimiter."""
    start = data.find(b"\r", max(at, len(data) - len(delimiter) + 1))
    while start >= 0:
        if delimiter.startswith(data[start:]):
            return len(data) - start
        start = data.find(b"\r", start + 1)
    return 0
