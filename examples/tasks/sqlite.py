"""Tasks in one SQLite file, by the standard library alone."""

import asyncio
import datetime
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from msgspec import UNSET

from .models import STEP, NewTask, Status, Task, TaskChange
from .storage import StorageUnavailable

T = TypeVar("T")

SCHEMA = """
CREATE TABLE board_tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    notes TEXT NOT NULL,
    label TEXT NOT NULL,
    status TEXT NOT NULL,
    position REAL NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX board_tasks_order ON board_tasks (status, position, id);
"""
END = f"(SELECT coalesce(max(position), 0) + {STEP} FROM board_tasks WHERE status = :status)"


class SQLiteStorage:
    """One connection in a thread of its own: SQLite blocks, and the event loop must not."""

    name = "SQLite"

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._db: sqlite3.Connection | None = None

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the thread, as one transaction."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._db is None:
                self._db = connect(self._path)
            with self._db:  # commits, or rolls back what raised
                return work(self._db)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
                raise  # our mistake, not the file's
            raise StorageUnavailable(f"SQLite file {self._path}: {error}") from error

    async def open(self) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'board_tasks'").fetchone():
                return False
            db.executescript(SCHEMA)
            return True

        return await self._run(work)

    async def close(self) -> None:
        def work() -> None:
            if self._db is not None:
                self._db.close()

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown()

    async def list(
        self, *, status: Status | None = None, search: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[list[Task], int]:
        values = {"status": status, "search": search.lower(), "limit": limit, "offset": offset}
        matching = """FROM board_tasks
            WHERE (:status IS NULL OR status = :status)
            AND instr(lower(title || char(10) || label || char(10) || notes), :search)"""

        def work(db: sqlite3.Connection) -> tuple[list[Task], int]:
            rows = db.execute(
                f"SELECT * {matching} ORDER BY position, id LIMIT :limit OFFSET :offset", values
            )
            return [task(row) for row in rows], db.execute(
                f"SELECT count(*) {matching}", values
            ).fetchone()[0]

        return await self._run(work)

    async def get(self, task_id: int) -> Task | None:
        return await self._one("SELECT * FROM board_tasks WHERE id = :id", {"id": task_id})

    async def create(self, new: NewTask) -> Task:
        now = timestamp()
        values: dict[str, str | float] = {
            "title": new.title, "notes": new.notes, "label": new.label,
            "status": new.status, "now": now,
        }  # fmt: skip
        position = END
        if new.position is not UNSET:
            position, values["position"] = ":position", new.position
        created = await self._one(
            f"""INSERT INTO board_tasks
                (title, notes, label, status, position, created_at, updated_at)
                VALUES (:title, :notes, :label, :status, {position}, :now, :now) RETURNING *""",
            values,
        )
        assert created is not None
        return created

    async def update(self, task_id: int, change: TaskChange) -> Task | None:
        values = change.fields()
        # The names come from the fields of TaskChange, never from the client.
        settings = [f"{name} = :{name}" for name in values]
        if change.status is not UNSET and change.position is UNSET:
            settings.append(f"position = CASE status WHEN :status THEN position ELSE {END} END")
        settings += ["version = version + 1", "updated_at = :now"]
        return await self._one(
            f"UPDATE board_tasks SET {', '.join(settings)} WHERE id = :id RETURNING *",
            {**values, "id": task_id, "now": timestamp()},
        )

    async def delete(self, task_id: int) -> bool:
        return (
            await self._one("DELETE FROM board_tasks WHERE id = :id RETURNING *", {"id": task_id})
            is not None
        )

    async def _one(self, sql: str, values: dict[str, str | float]) -> Task | None:
        def work(db: sqlite3.Connection) -> Task | None:
            rows = db.execute(sql, values).fetchall()
            return task(rows[0]) if rows else None

        return await self._run(work)


def connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    try:
        db.row_factory = sqlite3.Row
        # Readers (a backup, the sqlite3 shell) do not stop the writer, and a commit costs no full
        # sync.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        # SQLite's own lower() knows ASCII only.
        db.create_function("lower", 1, str.lower, deterministic=True)
    except BaseException:
        db.close()  # a file that is no database
        raise
    return db


def timestamp() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def task(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        title=row["title"],
        notes=row["notes"],
        label=row["label"],
        status=Status(row["status"]),
        position=row["position"],
        version=row["version"],
        created_at=datetime.datetime.fromisoformat(row["created_at"]),
        updated_at=datetime.datetime.fromisoformat(row["updated_at"]),
    )
