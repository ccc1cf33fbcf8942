"""Which files of a folder have changed, by their times: no extension module, every file system."""

from __future__ import annotations

import os

#: What an application is made of and reads when it starts. Data that it may write itself is not
#: here.
SUFFIXES = (".py", ".html", ".jinja", ".jinja2", ".j2", ".toml", ".env")
#: Folders that hold other people's files, or what is made from the application's own.
SKIPPED = {"__pycache__", "node_modules", "build", "dist", "venv", "site-packages"}


class Watch:
    """The files below a folder; `changed` says what is different since it was last asked."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen = self._scan()

    def changed(self) -> list[str]:
        """Paths of files that are new, gone or written to, relative to the folder."""
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
            except OSError:  # gone since it was seen, or not ours to read
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
            except OSError:  # an editor replaces files
                return
            # An editor that keeps the time still makes another file of it.
            found[entry.path] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
