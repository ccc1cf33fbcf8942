"""Where the records of TLS end in a stream of bytes, before they are opened.

OpenSSL is asked only when a record is whole: its "no, more must come" is an exception, which costs
more than to count. One source for both builds.
"""

from __future__ import annotations

__all__ = ["RecordCounter"]

#: Bytes that a record may be sealed in, at most (RFC 5246 section 6.2.3).
_RECORD_MAX = 18432


class RecordCounter:
    """Counts the records of one direction of a connection (RFC 8446 section 5.1)."""

    def __init__(self) -> None:
        #: bytes of the record that is arriving; the header of one that arrives in pieces
        self.missing = 0
        self.header = b""

    def count(self, data: bytes) -> int:
        """How many records are whole with `data`. What is no TLS counts as one: OpenSSL says so."""
        at, size, whole = 0, len(data), 0
        while at < size:
            if self.missing:
                if self.missing > size - at:
                    self.missing -= size - at
                    return whole
                at += self.missing
                self.missing = 0
                whole += 1
                continue
            if not self.header and size - at >= 5:
                self.missing = data[at + 3] << 8 | data[at + 4]
                at += 5
            else:
                taken = min(5 - len(self.header), size - at)
                self.header += data[at : at + taken]
                at += taken
                if len(self.header) < 5:
                    return whole
                self.missing = self.header[3] << 8 | self.header[4]
                self.header = b""
            if self.missing == 0 or self.missing > _RECORD_MAX:
                whole += 1
        return whole
