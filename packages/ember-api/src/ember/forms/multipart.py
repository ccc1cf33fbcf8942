"""Reads multipart forms (RFC 7578) as they arrive: fields into memory, large files to disk.

`python-multipart` parses the bytes. This module enforces limits, stores the parts, and closes the
files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ember.exceptions import BadRequest, PayloadTooLarge, UnsupportedMediaType
from ember.forms.delimiters import Delimiters
from ember.forms.upload import UploadFile
from ember.headers import Headers
from ember.limits import RouteLimits
from ember.protocol.message.charsets import codec_of, parameter
from ember.request import Request

#: The most header fields of one part, and the most bytes of one. Clients send three short ones.
MAX_PART_HEADERS = 16
MAX_PART_HEADER_SIZE = 8192

#: Bytes that are collected before a thread writes them to disk.
_BATCH = 262144

#: The key in `request.context` of a form that was read.
_KEPT = "ember.form"

# The grammar of a boundary (RFC 2046 section 5.1.1).
_boundary = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]").fullmatch


class FormData:
    """The parts of a multipart form: a multi-map of names to str and `UploadFile`.

    `get`, `[]`: the first value; `get_all`: all values of a name; `items`: all pairs, in order.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str | UploadFile]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of `name`, or `default`."""
        for key, value in self._pairs:
            if key == name:
                return value
        return default

    def get_all(self, name: str) -> list[Any]:
        """All values of `name`, in order; empty if there are none."""
        return [value for key, value in self._pairs if key == name]

    def items(self) -> list[tuple[str, str | UploadFile]]:
        """All (name, value) pairs, in order."""
        return list(self._pairs)

    def keys(self) -> list[str]:
        """The names, each once."""
        return list(dict.fromkeys(name for name, _ in self._pairs))

    @property
    def files(self) -> list[UploadFile]:
        """The files, in order."""
        return [value for _, value in self._pairs if isinstance(value, UploadFile)]

    async def close(self) -> None:
        """Close and delete the files. This is also done after the response."""
        for upload in self.files:
            await upload.close()

    def __getitem__(self, name: str) -> Any:
        for key, value in self._pairs:
            if key == name:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"FormData({self._pairs!r})"


async def read_multipart(request: Request) -> FormData:
    """Read the multipart form in the body of `request`, once.

    The limits are those of the route (`RouteLimits`): `max_body_size`, `max_parts`,
    `max_part_size`, `in_memory_threshold`. Raises `PayloadTooLarge` at the first part over a limit,
    `BadRequest` at the first malformed part; the rest is not read.

    Text is UTF-8, or in the charset of its part or of the field `_charset_` (RFC 7578 sections 4.5
    and 4.6). Raises `UnsupportedMediaType` for an unknown charset, `BadRequest` for invalid text.
    """
    kept = request.context.get(_KEPT)
    if isinstance(kept, FormData):
        return kept
    reader = _Reader(request.limits, _boundary_of(request.headers.get("content-type", "")))
    try:
        async for chunk in request.stream:
            reader.feed(chunk)
            if reader.waiting >= _BATCH:
                await reader.flush()
        reader.finish()
        await reader.flush()
        for upload in reader.form.files:
            await upload.seek(0)
    except BaseException:
        await reader.form.close()
        raise

    async def close_last() -> None:
        # Registered again, to run last: background tasks may still read the files.
        request.after_response(reader.form.close)

    request.after_response(close_last)
    request.context[_KEPT] = reader.form
    return reader.form


def _boundary_of(content_type: str) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMediaType(
            f"expected multipart/form-data, got {kind.decode('latin-1') or 'no type'}"
        )
    boundary = options.get(b"boundary", b"")
    if _boundary(boundary) is None:
        raise BadRequest("multipart/form-data needs a boundary of 1 to 70 characters in its type")
    return boundary


class _Reader:
    """Collects the parts of a form from the events of the parser."""

    def __init__(self, limits: RouteLimits, boundary: bytes) -> None:
        from python_multipart import MultipartParser
        from python_multipart.exceptions import FormParserError

        self.form = FormData([])
        #: Bytes of files that are not yet written.
        self.waiting = 0
        self._error = FormParserError
        self._limits = limits
        self._parts = 0
        self._ended = False
        self._delimiters = Delimiters(boundary)
        self._queue: list[tuple[UploadFile, list[bytes]]] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._header = bytearray(), bytearray()
        self._name = ""
        self._charset = self._codec = "utf-8"
        self._field: bytearray | None = None
        self._size = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_SIZE,
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        if self._ended:
            return  # an epilogue (RFC 2046 section 5.1.1); the parser logs every piece of it
        self._parse(self._delimiters.feed(data))

    def _parse(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._parser.write(data)
        except self._error as error:
            raise BadRequest(f"the multipart form is malformed: {error}") from None

    def finish(self) -> None:
        """End of the body. Raises BadRequest if the form is incomplete."""
        if not self._ended:
            self._parse(self._delimiters.finish())
        if not self._ended:
            raise BadRequest("the multipart form ends before its last boundary")

    async def flush(self) -> None:
        """Write the collected bytes of files."""
        queue, self._queue, self.waiting = self._queue, [], 0
        for upload, pieces in queue:
            await upload.write_all(pieces)

    # -- events of the parser -----------------------------------------------------------------

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.max_parts:
            raise PayloadTooLarge(f"the form has more than {self._limits.max_parts} parts")
        self._headers = []
        self._size = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers.append((bytes(name), bytes(value).strip(b" \t")))
        self._header = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        headers = Headers.from_raw(self._headers)
        kind, options = parse_options_header(headers.get("content-disposition", ""))
        # RFC 7578 section 4.2: each part has this field, with a name.
        if kind != b"form-data" or b"name" not in options:
            raise BadRequest(
                f"part {self._parts} of the form has no Content-Disposition: form-data; name=..."
            )
        self._name = self._text(options[b"name"], self._charset, "the name of a part")
        filename = options.get(b"filename")
        if filename is None:
            self._field = bytearray()
            # RFC 7578 section 4.5: a part may have its own charset.
            self._codec = parameter(headers.get("content-type", ""), "charset") or self._charset
            return
        self._field = None
        upload = UploadFile(
            _base_name(self._text(filename, self._charset, "a file name")),
            headers.get("content-type", ""),
            headers,
            in_memory_threshold=self._limits.in_memory_threshold,
        )
        self.form._pairs.append((self._name, upload))
        self._queue.append((upload, []))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._field is not None:
            most = self._limits.in_memory_threshold
            if self._size > most:
                raise PayloadTooLarge(f'the field "{self._name}" is larger than {most} bytes')
            self._field += data[start:end]
            return
        largest = self._limits.max_part_size
        if largest is not None and self._size > largest:
            raise PayloadTooLarge(f'the file "{self._name}" is larger than {largest} bytes')
        if not self._queue:
            upload = self.form._pairs[-1][1]
            assert isinstance(upload, UploadFile)
            self._queue.append((upload, []))
        self._queue[-1][1].append(data[start:end])
        self.waiting += end - start

    def _on_part_end(self) -> None:
        if self._field is None:
            return
        text = self._text(self._field, self._codec, f'the field "{self._name}"')
        self.form._pairs.append((self._name, text))
        if self._name == "_charset_":
            # RFC 7578 section 4.6: the charset of the form. It is sent first, for the parts after
            # it.
            codec_of(text)
            self._charset = text

    @staticmethod
    def _text(data: bytes | bytearray, charset: str, what: str) -> str:
        try:
            return data.decode(codec_of(charset))
        except UnicodeDecodeError:
            raise BadRequest(f"{what} is not {charset} text") from None

    def _on_end(self) -> None:
        self._ended = True


def _base_name(filename: str) -> str:
    """The file name without folders: a name with `..` may be an attack (RFC 7578 section 4.2)."""
    name = re.split(r"[/\\]", filename)[-1]
    name = "".join(c for c in name if c >= " " and c != "\x7f")
    return "" if name in (".", "..") else name
