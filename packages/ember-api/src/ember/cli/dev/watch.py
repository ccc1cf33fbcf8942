"""Finds changed files of a folder by their times, on every file system. If watchfiles is installed
(the extra `dev`), the kernel reports when to check."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

#: Source, settings and templates of applications. Files that an application may write are not here.
SUFFIXES = (
    *(".py", ".toml", ".env"),
    *(".html", ".jinja", ".jinja2", ".j2"),
    *(".css", ".js", ".mjs", ".svg"),
)
#: Folders with files of other packages, or with generated files.
SKIPPED = {"__pycache__", "node_modules", "build", "dist", "venv", "site-packages"}


class Watch:
    """The files under a folder. `changed` lists what has changed since the last call."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen = self._scan()

    def changed(self) -> list[str]:
        """Paths of new, removed and changed files, relative to the folder."""
        now = self._scan()
        before, self._seen = self._seen, now
        if now == before:
            return []
        paths = {path for path, _ in now.items() ^ before.items()}
        return sorted(os.path.relpath(path, self._folder) for path in paths)

    def _scan(self) -> dict[str, tuple[int, int, int]]:
        found: dict[str, tuple[int, int, int]] = {}
        folders = [self._folder]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        self._look(entry, found, folders)
            except OSError:  # removed meanwhile, or not readable
                continue
        return found

    def _look(
        self,
        entry: os.DirEntry[str],
        found: dict[str, tuple[int, int, int]],
        folders: list[str],
    ) -> None:
        name = entry.name
        if entry.is_dir(follow_symlinks=False):
            if name not in SKIPPED and not name.startswith("."):
                folders.append(entry.path)
        elif name.endswith(SUFFIXES):
            try:
                facts = entry.stat()
            except OSError:  # removed meanwhile: editors replace files
                return
            # The inode too: an editor may replace a file and keep its time.
            found[entry.path] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)


class Bell:
    """Calls `ring` from a thread when a file under a folder may have changed. `rings` is False if
    watchfiles is not installed, or if the kernel cannot watch the folder."""

    #: Milliseconds that it waits for more changes: editors write in several steps.
    _STEP, _MOST = 5, 50

    def __init__(self, folder: str, ring: Callable[[], object]) -> None:
        self.rings = False
        self._folder = folder
        self._ring = ring
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            import watchfiles
        except ImportError:
            return
        self._watch = watchfiles.watch
        self.rings = True
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for _ in self._watch(
                self._folder,
                watch_filter=lambda change, path: path.endswith(SUFFIXES),
                debounce=self._MOST,
                step=self._STEP,
                rust_timeout=200,
                stop_event=self._over,
                raise_interrupt=False,
            ):
                self._ring()
        except OSError:  # too many folders, or not supported
            self.rings = False
            self._ring()

    def stop(self) -> None:
        """Stop watching."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
