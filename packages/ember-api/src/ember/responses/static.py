"""`app.static`: serves the files of a directory, and no file outside it."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from time import monotonic

from ember.exceptions import NotFound
from ember.protocol.message.codings import CODINGS
from ember.protocol.message.headers import MutableHeaders
from ember.protocol.server.openfile import OpenFile
from ember.protocol.server.threadpool import run_short
from ember.request import Request
from ember.response import RedirectResponse, Response
from ember.responses.conditional import IF_MODIFIED_SINCE, IF_NONE_MATCH
from ember.responses.files import FileResponse, Pieces, content_type_of
from ember.responses.negotiation import negotiate

#: The file endings of compressed copies by content coding, the best first.
_SIBLINGS = {coding.name: coding.ending for coding in CODINGS if coding.ending}

MIB = 1024 * 1024


#: Seconds for which the file of a path is remembered, and the most paths that are remembered.
_BELIEVED = 1.0
_REMEMBERED = 1024
#: The most values of Accept-Encoding that are remembered for a path. Browsers send a handful.
_CHOICES = 32


class _Ready:
    """The prepared header fields of a file, for 200 and for 304, encoded once."""

    __slots__ = ("etag", "found", "known", "status")

    def __init__(self, of: FileResponse, extra: list[tuple[str, str]]) -> None:
        #: The stat result of the file; the same object as in `_Kept`.
        self.status = of.file_status
        self.etag = of.headers["ETag"]
        fields = [("ETag", self.etag), ("Last-Modified", of.headers["Last-Modified"])]
        self.found = MutableHeaders([*fields, ("Accept-Ranges", "bytes"), *extra])
        # RFC 9110 section 15.4.5: the fields of a 200 about caching, not those about content.
        self.known = MutableHeaders([*fields, *(f for f in extra if f[0] != "Content-Encoding")])


class _Found:
    """The file of a URL path, and its compressed copies."""

    __slots__ = ("choices", "codings", "content_type", "file", "ready", "until")

    def __init__(self, file: str, codings: dict[str, str]) -> None:
        self.file = file
        self.codings = codings
        self.content_type = content_type_of(file)
        self.until = monotonic() + _BELIEVED
        self.choices: dict[str | None, str | None] = {}
        self.ready: dict[str | None, _Ready] = {}

    def choose(self, accept: str | None) -> str | None:
        """The coding for a value of Accept-Encoding; None: no coding."""
        if accept in self.choices:
            return self.choices[accept]
        coding = negotiate(accept, self.codings)
        if len(self.choices) < _CHOICES:
            self.choices[accept] = coding
        return coding


class _Kept:
    """A file in memory, and the response for which it was read."""

    __slots__ = ("data", "response", "seen", "status")

    def __init__(self, data: bytes, response: FileResponse) -> None:
        self.data = data
        self.response = response
        self.status = response.file_status
        #: When the file was last compared with the disk.
        self.seen = monotonic()


class StaticFiles:
    """A handler for the files under `directory`; see `Ember.static` for its options."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        index: str | None = None,
        precompressed: bool = True,
        cache_control: str | None = None,
        dotfiles: bool = False,
        memory: int = 16 * MIB,
        memory_file: int = 64 * 1024,
        memory_files: int = 1024,
        recheck: float = 0.1,
    ) -> None:
        root = os.path.realpath(directory)
        if not os.path.isdir(root):
            raise NotADirectoryError(
                errno.ENOTDIR, "static(directory=...): no such directory", os.fspath(directory)
            )
        if index is not None and (not index or "/" in index or "\\" in index):
            raise ValueError(f'static(index={index!r}): expected a file name such as "index.html"')
        if memory < 0 or memory_file < 0:
            raise ValueError("static(memory=..., memory_file=...): expected bytes, 0 or more")
        if memory_files < 0:
            raise ValueError("static(memory_files=...): expected a number of files, 0 or more")
        if not recheck >= 0:
            raise ValueError("static(recheck=...): expected seconds, 0 or more")
        # An invalid value raises an error here, not at the first request.
        Response(headers={"Cache-Control": cache_control} if cache_control else None)
        self._root = root
        self._inside = root if root.endswith(os.sep) else root + os.sep
        self._index = index
        self._precompressed = precompressed
        self._cache_control = cache_control
        self._dotfiles = dotfiles
        self._most = memory
        self._largest = min(memory_file, memory) if memory_files else -1
        self._most_files = memory_files
        self._recheck = recheck
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._known: dict[str, _Found] = {}
        self._size = 0

    @property
    def in_memory(self) -> int:
        """Bytes of file content in memory now."""
        return self._size

    def hit(self, request: Request, path: str) -> Response | None:
        """The response, if it can be made without waiting: for a file that was requested before,
        whole or with If-None-Match. None: use `__call__`."""
        found = self._known.get(path)
        if found is None:
            return None
        now = monotonic()
        if now >= found.until:
            return None
        coding = found.choose(request.joined("accept-encoding")) if found.codings else None
        ready = found.ready.get(coding)
        if ready is None:
            return None
        file = found.file if coding is None else found.codings[coding]
        kept = self._kept.get(file)
        if kept is None:
            return self._from_disk(request, file, found, ready)
        if kept.status is not ready.status:
            return None
        if now - kept.seen >= self._recheck:
            try:
                status = os.stat(file, follow_symlinks=False)
            except OSError:
                return None
            if not _same(kept.status, status):
                return None
            kept.seen = now
        asked = request.conditions
        if asked:
            # With If-None-Match, If-Modified-Since is ignored (RFC 9110 section 13.1.3).
            if asked not in (IF_NONE_MATCH, IF_NONE_MATCH | IF_MODIFIED_SINCE):
                return None
            if request.joined("if-none-match") != ready.etag:
                return None
        self._kept.move_to_end(file)
        if asked:
            return Response.sharing(b"", 304, None, ready.known)
        return Response.sharing(kept.data, 200, found.content_type, ready.found)

    def _from_disk(
        self, request: Request, file: str, found: _Found, ready: _Ready
    ) -> Response | None:
        """The response with a file that is too large for memory, if it has not changed."""
        if ready.status.st_size <= self._largest or request.conditions:
            return None
        try:
            opened = OpenFile(file, self._root)
        except OSError:
            return None
        if not _same(opened.status, ready.status):
            opened.close()
            return None
        response = Response.sharing(b"", 200, found.content_type, ready.found)
        response.stream = Pieces(opened, [(0, ready.status.st_size)])
        return response

    async def __call__(self, request: Request, path: str = "") -> Response:
        """The response for the file at `path` (percent-decoded) under the directory.

        Raises NotFound for a missing, a refused and an unreadable file: a client cannot tell them
        apart."""
        if (ready := self.hit(request, path)) is not None:
            return ready
        response = None
        for believed in (True, False):
            found = await self._lead(path, believed)
            if found is None:
                break
            if isinstance(found, str):
                return self.to_folder(request, found)
            coding = found.choose(request.joined("accept-encoding")) if found.codings else None
            file = found.codings[coding] if coding else found.file
            try:
                response = await self._open(file, found.content_type)
            except OSError:
                # The file was removed, became a symbolic link, or is not readable. Try once more,
                # without the remembered path.
                continue
            break
        if response is None or not isinstance(found, _Found):
            raise NotFound(f"nothing is at {request.path}")
        extra = []
        if coding:
            extra.append(("Content-Encoding", coding))
        if found.codings:
            extra.append(("Vary", "Accept-Encoding"))
        if self._cache_control is not None:
            extra.append(("Cache-Control", self._cache_control))
        kept = self._kept.get(file)
        found.ready[coding] = _Ready(response if kept is None else kept.response, extra)
        response.headers.update(extra)
        return response.for_request(request)

    async def _lead(self, path: str, believed: bool) -> _Found | str | None:
        """The result of `_find`, which may be remembered if `believed` is True."""
        found = self._known.get(path)
        now = monotonic()
        if found is not None and believed:
            if now < found.until:
                return found
            # One request looks on the disk; others use the remembered file meanwhile.
            found.until = now + _BELIEVED
        # It follows symbolic links on the disk: not on the loop.
        sought = await run_short(self._find, path)
        if isinstance(sought, _Found):
            self._known[path] = sought
            while len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        else:
            self._known.pop(path, None)
        return sought

    def to_folder(self, request: Request, path: str) -> Response:
        """The redirect to the same path with a slash, so that relative links in its page work."""
        query = f"?{request.query_string}" if request.query_string else ""
        # Relative, so that it works behind a proxy with a prefix. With "./", so that no name can be
        # read as a scheme or a host.
        return RedirectResponse(f"./{quoted(path.rpartition('/')[2])}/{query}", 308)

    def _find(self, path: str) -> _Found | str | None:
        """The file at `path`; a str: redirect to this folder; None: no file that may be served."""
        folder = path == "" or path.endswith("/")
        segments = path.rstrip("/").split("/") if path.rstrip("/") else []
        if path.startswith("/") or not all(map(self._may_pass, segments)):
            return None
        file = self._resolve("/".join(segments))
        if file is None:
            return None
        if os.path.isdir(file):
            if self._index is None:
                return None
            if not folder:
                return segments[-1] if self._has_index(file) else None
            file = self._resolve("/".join([*segments, self._index]))
            if file is None:
                return None
        elif folder:
            return None
        codings = {}
        if self._precompressed:
            for coding, ending in _SIBLINGS.items():
                sibling = self._resolve(os.path.relpath(file, self._root) + ending)
                if sibling is not None and os.path.isfile(sibling):
                    codings[coding] = sibling
        return _Found(file, codings) if os.path.isfile(file) else None

    def _has_index(self, folder: str) -> bool:
        """Whether the folder has an index file that may be served."""
        if self._index is None:
            return False
        index = self._resolve(os.path.relpath(os.path.join(folder, self._index), self._root))
        return index is not None and os.path.isfile(index)

    def _may_pass(self, segment: str) -> bool:
        """Whether a segment of a path is a plain file name, on every system."""
        if segment in ("", ".", "..") or (segment[0] == "." and not self._dotfiles):
            return False
        # A backslash or a colon may lead outside on Windows. A NUL ends a name in C.
        return not any(c in "\\:\0" or c < " " or c == "\x7f" for c in segment)

    def _resolve(self, relative: str) -> str | None:
        """The real path of `relative`; None if it is outside the directory or does not exist."""
        try:
            real = os.path.realpath(os.path.join(self._root, relative), strict=True)
        except (OSError, ValueError):
            return None
        if real != self._root and not real.startswith(self._inside):
            return None
        # A symbolic link inside the directory may lead to a hidden file.
        if not self._dotfiles and f"{os.sep}." in real[len(self._root) :]:
            return None
        return real

    async def _open(self, file: str, content_type: str) -> FileResponse:
        status = os.stat(file, follow_symlinks=False)
        kept = self._kept.get(file)
        if kept is not None:
            if _same(kept.status, status):
                kept.seen = monotonic()
                self._kept.move_to_end(file)
                return self._again(kept, content_type)
            self._forget(file)
        if status.st_size > self._largest or not stat.S_ISREG(status.st_mode):
            return self._response(file, content_type)
        response = self._response(file, content_type)
        data = await run_short(response.read_all)
        if len(data) != response.size:  # it is being written
            return self._response(file, content_type)
        kept = _Kept(data, response)
        self._keep(file, kept)
        return self._again(kept, content_type)

    def _response(self, file: str, content_type: str) -> FileResponse:
        """The response with `file`. Symbolic links that were made after `_find` are not
        followed."""
        name = file[len(self._inside) :]
        return FileResponse(name, content_type=content_type, root=self._root)

    def _again(self, kept: _Kept, content_type: str) -> FileResponse:
        response = FileResponse.from_memory(kept.data, kept.response)
        # The same file has another type if it is served as the compressed copy of another file.
        response.content_type = content_type
        return response

    def _keep(self, file: str, kept: _Kept) -> None:
        self._forget(file)
        self._kept[file] = kept
        self._size += len(kept.data)
        while self._size > self._most or len(self._kept) > self._most_files:
            self._forget(next(iter(self._kept)))

    def _forget(self, file: str) -> None:
        kept = self._kept.pop(file, None)
        if kept is not None:
            self._size -= len(kept.data)


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether two stat results are of the same, unchanged file."""
    return (a.st_mtime_ns, a.st_size, a.st_ino, a.st_dev) == (
        b.st_mtime_ns,
        b.st_size,
        b.st_ino,
        b.st_dev,
    )


def quoted(segment: str) -> str:
    """A segment of a path, percent-encoded."""
    from urllib.parse import quote

    return quote(segment, safe="!$&'()*+,;=@")
