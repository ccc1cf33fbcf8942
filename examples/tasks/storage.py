"""The seam between the application and its database: one protocol, two implementations."""

import os
from collections.abc import Mapping
from typing import Protocol

from .models import NewTask, Status, Task, TaskChange

MAX_ID = 2**63 - 1  # both databases number rows with 64 bits; a greater number names no task


class StorageUnavailable(Exception):
    """The database cannot be reached or refuses to work; trying again later may help."""


class Storage(Protocol):
    """Keeps tasks. Methods may run at the same time; each is one atomic step.

    All but `close` raise `StorageUnavailable` when the database does not answer.
    """

    @property
    def name(self) -> str:
        """What it is, for people: "SQLite" ..."""
        ...

    async def open(self) -> bool:
        """Connect. Makes the table where it is missing, and says whether it did."""
        ...

    async def close(self) -> None:
        """Give everything back. Nothing else is called afterwards."""
        ...

    async def list(
        self, *, status: Status | None = None, search: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[list[Task], int]:
        """One page in board order, and the number of all that match.

        `search` is looked for in title, notes and label, whatever the case.
        """
        ...

    async def get(self, task_id: int) -> Task | None: ...

    async def create(self, new: NewTask) -> Task: ...

    async def update(self, task_id: int, change: TaskChange) -> Task | None:
        """Change what is set; a task that changes its status without a position goes to the end."""
        ...

    async def delete(self, task_id: int) -> bool:
        """True when there was such a task."""
        ...


def from_environment(environ: Mapping[str, str] = os.environ) -> Storage:
    """PostgreSQL when DATABASE_URL says so, else SQLite in EMBER_TASKS_DB or ./tasks.sqlite3."""
    url = environ.get("DATABASE_URL", "")
    if not url:
        from .sqlite import SQLiteStorage

        return SQLiteStorage(environ.get("EMBER_TASKS_DB") or "tasks.sqlite3")
    if not url.startswith(("postgres://", "postgresql://")):
        scheme = url.partition(":")[0]  # never the whole URL: it has a password in it
        raise SystemExit(
            f'DATABASE_URL: unknown scheme "{scheme}"; use postgresql://user:password@host/database,'
            " or unset it for SQLite"
        )
    try:
        from .postgres import PostgresStorage
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise SystemExit(
            "DATABASE_URL is set, but asyncpg is not installed: pip install asyncpg"
        ) from None
    return PostgresStorage(url)
