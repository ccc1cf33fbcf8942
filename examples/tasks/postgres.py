"""Tasks in PostgreSQL, by asyncpg and its pool of connections."""

# asyncpg comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from msgspec import UNSET

from .models import STEP, NewTask, Status, Task, TaskChange
from .storage import StorageUnavailable

SCHEMA = """
CREATE TABLE board_tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    notes text NOT NULL,
    label text NOT NULL,
    status text NOT NULL,
    position double precision NOT NULL,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX board_tasks_order ON board_tasks (status, position, id);
"""
# Any number will do, as long as every process that makes this table takes the same.
SCHEMA_LOCK = 0x656D626572
# In the order of the fields of Task.
COLUMNS = "id, title, notes, label, status, position, version, created_at, updated_at"


STATUS = {status.value: status for status in Status}
SEARCHED = "lower(title || chr(10) || label || chr(10) || notes)"


def page_where(condition: str) -> str:
    """One statement and so one snapshot, for the total belongs to the page. Where nothing is on the
    page there is one row all the same, with the total and no task."""
    return f"""
        SELECT total, page.*
        FROM (SELECT count(*) AS total FROM board_tasks WHERE {condition}) AS counted
        LEFT JOIN (
            SELECT {COLUMNS} FROM board_tasks WHERE {condition}
            ORDER BY position, id LIMIT $1 OFFSET $2
        ) AS page ON true
        ORDER BY position, id"""


def end_of(column: str) -> str:
    return f"(SELECT coalesce(max(position), 0) + {STEP} FROM board_tasks WHERE status = {column})"


def insert_at(position: str) -> str:
    return f"""INSERT INTO board_tasks (title, notes, label, status, position)
        VALUES ($1, $2, $3, $4, {position}) RETURNING {COLUMNS}"""


class PostgresStorage:
    """A pool of at most `connections`; a statement waits for a free one."""

    name = "PostgreSQL"

    def __init__(self, url: str, *, connections: int = 8) -> None:
        self._url = url
        self._connections = connections
        self._pool: Any = None

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        try:
            if self._pool is None:
                self._pool = await self._connect()
            async with self._pool.acquire() as connection:
                yield connection
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.CannotConnectNowError,
            asyncpg.AdminShutdownError,
            asyncpg.TooManyConnectionsError,
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.InsufficientPrivilegeError,
            asyncpg.InterfaceError,
            # What asyncpg says when a connection dies while it is being given back.
            asyncpg.InternalClientError,
        ) as error:
            raise StorageUnavailable(f"PostgreSQL: {error}") from error

    async def _connect(self) -> Any:
        try:
            return await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._connections,
                timeout=10,
                reset=nothing_to_reset,
            )
        except ValueError as error:
            raise StorageUnavailable(f"DATABASE_URL is not an address: {error}") from error

    async def open(self) -> bool:
        async with self._connection() as connection, connection.transaction():
            # Two processes that start at once would both try to make the table.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
            if await connection.fetchval("SELECT to_regclass('board_tasks')"):
                return False
            await connection.execute(SCHEMA)
            return True

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def list(
        self, *, status: Status | None = None, search: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[list[Task], int]:
        # Only what was asked for is compared, so that the index is used where there is one.
        conditions = ["true"]
        values: list[str | int] = [limit, offset]
        if status is not None:
            conditions.append(f"status = ${len(values) + 1}")
            values.append(status)
        if search:
            conditions.append(f"strpos({SEARCHED}, lower(${len(values) + 1})) > 0")
            values.append(search)
        async with self._connection() as connection:
            rows = await connection.fetch(page_where(" AND ".join(conditions)), *values)
        tasks = [] if rows[0]["id"] is None else [task(row[1:]) for row in rows]
        return tasks, rows[0]["total"]

    async def get(self, task_id: int) -> Task | None:
        return await self._one(f"SELECT {COLUMNS} FROM board_tasks WHERE id = $1", task_id)

    async def create(self, new: NewTask) -> Task:
        values: list[str | float] = [new.title, new.notes, new.label, new.status]
        position = end_of("$4")
        if new.position is not UNSET:
            position = "$5"
            values.append(new.position)
        created = await self._one(insert_at(position), *values)
        assert created is not None
        return created

    async def update(self, task_id: int, change: TaskChange) -> Task | None:
        values = change.fields()
        # The names come from the fields of TaskChange, never from the client. $1 is the id.
        numbers = {name: f"${number}" for number, name in enumerate(values, 2)}
        settings = [f"{name} = {number}" for name, number in numbers.items()]
        if change.status is not UNSET and change.position is UNSET:
            status = numbers["status"]
            settings.append(
                f"position = CASE status WHEN {status} THEN position ELSE {end_of(status)} END"
            )
        settings += ["version = version + 1", "updated_at = now()"]
        return await self._one(
            f"UPDATE board_tasks SET {', '.join(settings)} WHERE id = $1 RETURNING {COLUMNS}",
            task_id,
            *values.values(),
        )

    async def delete(self, task_id: int) -> bool:
        return (
            await self._one(f"DELETE FROM board_tasks WHERE id = $1 RETURNING {COLUMNS}", task_id)
            is not None
        )

    async def _one(self, sql: str, *values: str | float) -> Task | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(sql, *values)
        return task(row) if row else None


async def nothing_to_reset(connection: object) -> None:
    """asyncpg would ask the server to forget settings, cursors and locks whenever a connection is
    given back: a second round trip for every statement, and there is nothing of that here."""


def task(row: Any) -> Task:
    """From a row of COLUMNS; asyncpg gives times in UTC."""
    id, title, notes, label, status, position, version, created_at, updated_at = row
    return Task(id, title, notes, label, STATUS[status], position, version, created_at, updated_at)
