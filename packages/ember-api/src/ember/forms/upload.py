"""`UploadFile`: a file of a form. It is in memory while it is small, and on disk otherwise."""

from __future__ import annotations

from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Any

from ember.headers import Headers
from ember.protocol.server.threadpool import run_short


class UploadFile:
    """One file of a multipart form; closed, and deleted, after the response.

    - `filename`: the name that the client sent, without folders; "" if it has no name.
    - `content_type`: the type that the client sent, which may be wrong; "" if it sent none.
    - `headers`: all header fields of the part.
    - `size`: bytes.
    """

    __slots__ = ("_file", "_most", "content_type", "filename", "headers", "on_disk", "size")

    def __init__(
        self,
        filename: str = "",
        content_type: str = "",
        headers: Headers | None = None,
        *,
        in_memory_threshold: int = 1024 * 1024,
    ) -> None:
        self.filename = filename
        self.content_type = content_type
        self.headers = Headers() if headers is None else headers
        self.size = 0
        #: Whether it is on disk.
        self.on_disk = False
        self._most = in_memory_threshold
        self._file: IO[bytes] = BytesIO()

    @property
    def file(self) -> IO[bytes]:
        """The file object. Reading it may block."""
        return self._file

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    async def read(self, size: int = -1) -> bytes:
        """Read the next `size` bytes, or the rest; empty at the end."""
        if self.on_disk:
            return await run_short(self._file.read, size)
        return self._file.read(size)

    async def write(self, data: bytes) -> int:
        """Write `data` at the current position. Above the threshold the file is moved to disk."""
        return await self.write_all([data])

    async def write_all(self, pieces: list[bytes]) -> int:
        """`write` for several pieces at once."""
        count = sum(map(len, pieces))
        end = self._file.tell() + count if not self.on_disk else 0
        if self.on_disk or end > self._most:
            # The disk may be slow: not on the loop.
            self.size = await run_short(self._write_to_disk, pieces, self.size)
        else:
            self._file.writelines(pieces)
            self.size = max(self.size, end)
        return count

    def _write_to_disk(self, pieces: list[bytes], size: int) -> int:
        if not self.on_disk:
            # It has no name in the file system: it is deleted with its last descriptor.
            disk = TemporaryFile()  # noqa: SIM115 - closed by close()
            memory = self._file
            assert isinstance(memory, BytesIO)
            disk.write(memory.getbuffer())
            disk.seek(memory.tell())
            self._file, self.on_disk = disk, True
        self._file.writelines(pieces)
        return max(size, self._file.tell())

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Move to `offset`, like `io.IOBase.seek`."""
        if self.on_disk:
            return await run_short(self._file.seek, offset, whence)
        return self._file.seek(offset, whence)

    async def close(self) -> None:
        """Close and delete the file. A second call does nothing."""
        if self.on_disk and not self._file.closed:
            # Deleting gigabytes takes time.
            await run_short(self._file.close)
        else:
            self._file.close()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """The schema of a field in a pydantic model."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, str]:
        """The description of a file of a multipart form in OpenAPI 3.1."""
        return {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
        }

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r} {self.content_type} {self.size} bytes>"
