"""The statements of examples/tasks, handed to the peers: all ask the database the same."""

from __future__ import annotations

from examples.tasks.postgres import COLUMNS, SCHEMA, end_of, insert_at, page_where

ROWS = 200_000
#: Of these so many are to do, and so many under way; all others are done, as on a board that lives.
TODO, DOING = 3_000, 1_000
PAGE = 20
POOL = 8

STATEMENTS = {
    "list": page_where("true AND status = $3"),
    "get": f"SELECT {COLUMNS} FROM board_tasks WHERE id = $1",
    "create": insert_at(end_of("$4")),
}

FILL = f"""
    INSERT INTO board_tasks (title, notes, label, status, position, created_at, updated_at)
    SELECT 'Task number ' || n, 'What is to be done about ' || n || ', and until when',
        'label ' || n % 7,
        CASE WHEN n <= {TODO} THEN 'todo' WHEN n <= {TODO + DOING} THEN 'doing' ELSE 'done' END,
        n * 1024.0, made, made
    FROM (
        SELECT n, timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second' AS made
        FROM generate_series(1, {ROWS}) AS n
    ) AS numbers
"""


async def fill(url: str) -> None:
    """Make the example's table with its rows."""
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute(SCHEMA)
    await connection.execute(FILL)
    await connection.execute("VACUUM (ANALYZE, FREEZE) board_tasks")
    await connection.close()


async def count(url: str) -> int:
    """How many tasks there are."""
    import asyncpg

    connection = await asyncpg.connect(url)
    found: int = await connection.fetchval("SELECT count(*) FROM board_tasks")
    await connection.close()
    return found
