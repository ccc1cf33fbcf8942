"""Request bodies off the wire: by length, and chunked (RFC 9112 section 7.1).

Both builds read with this; with a compiler it is compiled with the types of `chunked.pxd`.
"""

from __future__ import annotations

import re

from ember.exceptions import ProtocolError
from ember.protocol.http1.field_line import TCHAR, parse_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.limits import ServerLimits

#: Bytes of a chunk's first line, extensions included. Extensions mean nothing here and are bounded.
MAX_CHUNK_LINE = 1024
#: Bytes of framing that are free for each chunk, and for each byte of its data: what honest clients
#: send. What goes beyond it adds up to `ServerLimits.max_chunk_overhead`.
FREE_PER_CHUNK = 16
FREE_PER_BYTE = 2

# chunk-size [ chunk-ext ] (RFC 9112 section 7.1.1), where chunk-ext is
# *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS ( token / quoted-string ) ] ).
# 15 digits fit 64 bits with room to add. No quantifier gives back what it took.
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_chunk_line = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)"
    rb"(?:[ \t]*+;[ \t]*+" + TCHAR + rb"++"
    rb"(?:[ \t]*+=[ \t]*+(?:" + TCHAR + rb"++|" + _QUOTED + rb"))?+)*+"
).fullmatch

_SIZE, _DATA, _DATA_END, _TRAILER = range(4)


class LengthDecoder:
    """A body of `length` bytes."""

    __slots__ = ("done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0

    def read(self, buffer: bytearray, most: int) -> bytes:
        """At most `most` bytes of the body, taken off `buffer`; empty when more must arrive."""
        size = min(len(buffer), self.remaining, most)
        data = bytes(buffer[:size])
        del buffer[:size]
        self.remaining -= size
        self.done = self.remaining == 0
        return data


class ChunkedDecoder:
    """A chunked body. Trailer fields are checked and dropped (RFC 9110 section 6.5.1)."""

    __slots__ = (
        "_fault",
        "_limits",
        "_overhead",
        "_remaining",
        "_scanned",
        "_state",
        "_trailer_size",
        "_trailers",
        "done",
    )

    def __init__(self, limits: ServerLimits) -> None:
        self._fault: ProtocolError | None = None
        self._limits = limits
        self._overhead = 0
        self._state = _SIZE
        self._remaining = 0
        self._scanned = 0
        self._trailers = 0
        self._trailer_size = 0
        self.done = False

    @property
    def remaining(self) -> int:
        """Bytes that are still to come of the chunk whose size was read last."""
        return self._remaining

    def read(self, buffer: bytearray, most: int) -> bytes:
        """At most `most` bytes of the body, taken off `buffer`; empty when more must arrive.

        Raises `ProtocolError` (400, 431): after what came before the fault was given, so that it
        makes no difference how the bytes were split.
        """
        if self._fault is not None:
            raise self._fault
        out = bytearray()
        position = 0  # everything before it is used up
        try:
            # As many bytes of input, too: chunks of one byte are work for little.
            while not self.done and len(out) < most and (position < most or not out):
                if self._state == _DATA:
                    size = min(len(buffer) - position, self._remaining, most - len(out))
                    if size == 0:
                        break
                    out += buffer[position : position + size]
                    position += size
                    self._remaining -= size
                    if self._remaining == 0:
                        self._state = _DATA_END
                elif self._state == _DATA_END:
                    size = len(buffer) - position
                    if (size > 0 and buffer[position] != 13) or (
                        size > 1 and buffer[position + 1] != 10
                    ):
                        raise ProtocolError(400, "a chunk is longer than its size")
                    if size < 2:
                        break
                    position += 2
                    self._state = _SIZE
                else:
                    size = self._plain_line(buffer, position)
                    if size:
                        position += size
                        continue
                    line = self._line(buffer, position)
                    if line is None:
                        break
                    position += len(line) + 2
                    self._take_line(line)
        except ProtocolError as error:
            if not out:
                raise
            self._fault = error
        finally:
            del buffer[:position]
        return bytes(out)

    def _plain_line(self, buffer: bytearray, start: int) -> int:
        """The bytes of a whole line that is one to four digits, whose chunk then begins; 0 for any
        other, and for what only the careful way may judge."""
        end = len(buffer)
        at = start
        size = 0
        if self._state != _SIZE:
            return 0
        while at < end and at < start + 4:
            digit = buffer[at]
            if 48 <= digit <= 57:
                size = size * 16 + digit - 48
            elif 97 <= digit <= 102:
                size = size * 16 + digit - 87
            elif 65 <= digit <= 70:
                size = size * 16 + digit - 55
            else:
                break
            at += 1
        if size == 0 or at + 2 > end or buffer[at] != 13 or buffer[at + 1] != 10:
            return 0
        self._scanned = 0
        self._remaining = size
        self._overhead -= FREE_PER_BYTE * size
        if self._overhead < 0:
            self._overhead = 0
        self._state = _DATA
        return at + 2 - start

    def _line(self, buffer: bytearray, start: int) -> bytes | None:
        at = buffer.find(b"\n", start + self._scanned)
        self._check_size((len(buffer) if at < 0 else at) - start)
        if at < 0:
            self._scanned = len(buffer) - start
            return None
        self._scanned = 0
        if at == start or buffer[at - 1] != 13:
            raise ProtocolError(400, "a line of the chunked body ends in LF without CR")
        return bytes(buffer[start : at - 1])

    def _check_size(self, size: int) -> None:
        if self._state == _SIZE:
            if size > MAX_CHUNK_LINE:
                raise ProtocolError(400, "a chunk extension is too long")
        elif self._trailer_size + size > self._limits.max_header_size:
            raise ProtocolError(431, "the trailer is too large")

    def _take_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _chunk_line(line)
            if match is None:
                raise ProtocolError(400, "a chunk size is malformed")
            self._remaining = int(match[1], 16)
            # Lines that outweigh the data are an attack.
            self._overhead += len(line) + 2 - FREE_PER_CHUNK - FREE_PER_BYTE * self._remaining
            self._overhead = max(self._overhead, 0)
            if self._overhead > self._limits.max_chunk_overhead:
                raise ProtocolError(400, "the chunks are mostly lines and extensions")
            self._state = _DATA if self._remaining else _TRAILER
        elif line:
            self._trailers += 1
            self._trailer_size += len(line) + 2
            if self._trailers > self._limits.max_headers:
                raise ProtocolError(431, "the trailer has too many fields")
            parse_field(line + b"\r")
        else:
            self.done = True
