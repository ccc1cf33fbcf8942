"""`FileResponse`: sends a file, whole or in part, with conditional requests."""

from __future__ import annotations

import errno
import mimetypes
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from ember.protocol.message.dates import http_date
from ember.protocol.server.openfile import CHUNK, FilePart, FileShortened, OpenFile
from ember.request import Request
from ember.response import Response
from ember.responses.conditional import Range, Unsatisfiable, precondition, ranges

if TYPE_CHECKING:
    from ember.protocol.message.headers import HeadersInit

# Types that mimetypes does not know, or that differ between machines.
_TYPES = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}


class FileResponse(Response):
    """Sends a file, with `ETag` and `Last-Modified`; handles 304, ranges (206, 416), 412 and HEAD.

    - `filename`: the name for the client. The file is sent as an attachment, or with
      `disposition="inline"` to be shown.
    - `content_type`: default: by the file name.
    - `etag`: the entity tag with its quotes; default: made from time and size.
    - `root`: the folder of `path`, for names that a client may choose. A path that is not a plain
      path below it, or that contains a symbolic link, raises FileNotFoundError.

    Raises FileNotFoundError and PermissionError like `open`, IsADirectoryError for a folder, and
    OSError if it is not a regular file. The file is opened at once: so the response does not change
    if the file is replaced meanwhile.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
        *,
        filename: str | None = None,
        disposition: str = "attachment",
        etag: str | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        if disposition not in ("attachment", "inline"):
            raise ValueError(
                f'FileResponse(disposition={disposition!r}): expected "attachment" or "inline"'
            )
        name = os.fspath(path)
        folder = None if root is None else os.fspath(root)
        if folder is not None:
            name = _below(folder, name)
        super().__init__(b"", status_code, headers, content_type or content_type_of(name))
        self.path = name
        self._data: bytes | None = None
        self._prepared = False
        self._file: OpenFile | None
        try:
            self._file = OpenFile(name, folder)
        except OSError as error:
            # ELOOP, ENOTDIR: a symbolic link, or a path below a file.
            if folder is None or error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None
        self._describe(self._file.status, etag)
        if filename is not None:
            self.headers["Content-Disposition"] = content_disposition(disposition, filename)
        # The whole file, unless `for_request` finds ranges.
        self.stream = Pieces(self._file, [(0, self.size)])

    @classmethod
    def from_memory(cls, data: bytes, like: FileResponse) -> FileResponse:
        """The same response as `like`, with its content in memory."""
        self = cls.__new__(cls)
        Response.__init__(self, data, 200, None, like.content_type)
        self.path = like.path
        self.size = like.size
        self.modified = like.modified
        self.file_status = like.file_status
        self._data = data
        self._prepared = False
        self._file = None
        self.headers.take(like.headers)
        return self

    def _describe(self, status: os.stat_result, etag: str | None) -> None:
        self.file_status = status
        self.size: int = status.st_size
        self.modified = int(status.st_mtime)
        headers = self.headers
        if etag is not None:
            headers["ETag"] = etag
        elif "etag" not in headers:
            headers["ETag"] = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if "last-modified" not in headers:
            headers["Last-Modified"] = http_date(self.modified)
        headers["Accept-Ranges"] = "bytes"
        headers["Content-Length"] = str(self.size)

    def for_request(self, request: Request) -> FileResponse:
        """Apply the conditions and ranges of `request`: this response may become a 304, 206, 412 or
        416.

        The server calls it before the first byte. A second call changes nothing.
        """
        # RFC 9110 section 13.2.1: only if the response would be a 200.
        if self._prepared or self.status_code != 200 or request.method not in ("GET", "HEAD"):
            return self
        self._prepared = True
        if not request.conditions:
            return self
        etag = self.headers["ETag"]
        status = precondition(request.headers, etag, self.modified)
        if status != 200:
            self._without_content(status)
            return self
        if request.method == "HEAD":  # Range has a meaning for GET only (section 14.2)
            return self
        try:
            wanted = ranges(request.headers, self.size, etag, self.modified)
        except Unsatisfiable:
            self._without_content(416)
            self.headers["Content-Range"] = f"bytes */{self.size}"
            return self
        if wanted is not None:
            self.status_code = 206
            self._send_only(wanted)
        return self

    def read_all(self) -> bytes:
        """Read the whole content and close the file."""
        data, file = b"", self._file
        assert file is not None, "the content is in memory already"
        while more := file.read_now(self.size + 1 - len(data), len(data)):
            data += more
        file.close()
        return data

    def _without_content(self, status: int) -> None:
        self.status_code = status
        self.body, self.stream = b"", None
        if self._file is not None:
            self._file.close()
        self.content_type = None
        # These fields describe content. ETag, Cache-Control and Vary stay (section 15.4.5).
        for name in ("Content-Length", "Content-Disposition", "Content-Encoding", "Accept-Ranges"):
            self.headers.pop(name)

    def _send_only(self, wanted: list[Range]) -> None:
        parts: list[bytes | Range]
        if len(wanted) == 1:
            first, end = wanted[0]
            self.headers["Content-Range"] = f"bytes {first}-{end - 1}/{self.size}"
            parts = [wanted[0]]
        else:
            parts = self._byteranges(wanted)
        self.headers["Content-Length"] = str(
            sum(len(p) if isinstance(p, bytes) else p[1] - p[0] for p in parts)
        )
        data = self._data
        if self._file is not None:
            self.stream = Pieces(self._file, parts)
        elif data is not None:
            self.body = b"".join(p if isinstance(p, bytes) else data[p[0] : p[1]] for p in parts)

    def _byteranges(self, wanted: list[Range]) -> list[bytes | Range]:
        """The parts of a multipart response (RFC 9110 section 14.6)."""
        boundary = os.urandom(12).hex()
        parts: list[bytes | Range] = []
        kind = f"Content-Type: {self.content_type}\r\n" if self.content_type else ""
        for first, end in wanted:
            span = f"Content-Range: bytes {first}-{end - 1}/{self.size}"
            between = "\r\n" if parts else ""
            head = f"{between}--{boundary}\r\n{kind}{span}\r\n\r\n"
            parts += [head.encode("latin-1"), (first, end)]
        parts.append(f"\r\n--{boundary}--\r\n".encode())
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        return parts


def _below(folder: str, name: str) -> str:
    """The path of `name` in `folder`. Raises FileNotFoundError if it may lead outside."""
    parts = name.split("/")
    # A NUL ends a name in C. A backslash or a colon may lead outside on Windows.
    bad = "\0" if os.sep == "/" else "\0\\:"
    if any(p in ("", ".", "..") for p in parts) or any(c in bad for c in name):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return os.path.join(folder, *parts)


class Pieces:
    """The parts of a file, and the bytes between them, as a stream. It closes the file.

    The server sends `file_parts` directly. Other code iterates and gets the bytes.
    """

    def __init__(self, file: OpenFile, parts: list[bytes | Range]) -> None:
        self.file_parts: list[bytes | FilePart] = []
        for part in parts:
            self.file_parts.append(part if isinstance(part, bytes) else FilePart(file, *part))
        #: The bytes of all parts.
        self.file_length = sum(map(len, self.file_parts))
        self._file = file
        self._iterator: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._iterator is None:
            self._iterator = self._read()
        return await self._iterator.__anext__()

    async def _read(self) -> AsyncIterator[bytes]:
        for part in self.file_parts:
            if isinstance(part, bytes):
                yield part
                continue
            offset = part.offset
            while offset < part.end:
                data = await part.file.read(min(CHUNK, part.end - offset), offset)
                if not data:
                    raise FileShortened(offset)
                offset += len(data)
                yield data

    async def aclose(self) -> None:
        """Close the file."""
        if self._iterator is not None:
            await self._iterator.aclose()  # type: ignore[attr-defined]
        self._file.close()


def content_type_of(path: str) -> str:
    """The media type by the name of a file; text is UTF-8."""
    ending = os.path.splitext(path)[1].lower()
    kind = _TYPES.get(ending)
    if kind is None:
        guessed, encoding = mimetypes.guess_type(path, strict=False)
        # "a.tar.gz" is a gzip file, not a tar file with Content-Encoding.
        kind = guessed if guessed and not encoding else "application/octet-stream"
        if encoding == "gzip":
            kind = "application/gzip"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def content_disposition(kind: str, filename: str) -> str:
    """The value of Content-Disposition (RFC 6266): the name in ASCII, and by RFC 8187 if it has
    other characters."""
    plain = "".join(c if " " <= c <= "~" else "_" for c in filename)
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    value = f'{kind}; filename="{quoted}"'
    # A percent sign is decoded by some clients and not by others; filename* has one meaning.
    if plain != filename or "%" in filename:
        value += f"; filename*=UTF-8''{quote(filename, safe='!#$&+^`|')}"
    return value
