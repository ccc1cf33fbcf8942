"""The task board's API with FastAPI, pydantic and asyncpg, as their documentation writes it.

The statements come from examples/tasks (CRUD_STATEMENTS), so that both ask the database the same.
"""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import asyncpg
from fastapi import FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field

SQL = json.loads(os.environ["CRUD_STATEMENTS"])


class Status(StrEnum):
    TODO = "todo"
    DOING = "doing"
    DONE = "done"


class Task(BaseModel):
    id: int
    title: str
    notes: str
    label: str
    status: Status
    position: float
    version: int
    created_at: datetime
    updated_at: datetime


class NewTask(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    title: Annotated[str, Field(min_length=1, max_length=200)]
    notes: Annotated[str, Field(max_length=10_000)] = ""
    label: Annotated[str, Field(max_length=24)] = ""
    status: Status = Status.TODO


class TaskPage(BaseModel):
    items: list[Task]
    total: int
    limit: int
    offset: int


async def keep_as_it_is(connection):
    """Nothing is changed on a connection that would have to be undone: as in examples/tasks."""


@asynccontextmanager
async def lifespan(app):
    size = int(os.environ["CRUD_POOL"])
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=size, max_size=size, reset=keep_as_it_is
    ) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/tasks")
async def list_tasks(
    status: Status,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
) -> TaskPage:
    rows = await app.state.pool.fetch(SQL["list"], limit, offset, status)
    items = [Task(**row) for row in rows if row["id"] is not None]
    return TaskPage(items=items, total=rows[0]["total"], limit=limit, offset=offset)


@app.get("/tasks/{id}")
async def get_task(id: int) -> Task:
    row = await app.state.pool.fetchrow(SQL["get"], id)
    if row is None:
        raise HTTPException(404, f"There is no task {id}.")
    return Task(**row)


@app.post("/tasks", status_code=201)
async def create_task(new: NewTask, response: Response) -> Task:
    row = await app.state.pool.fetchrow(SQL["create"], new.title, new.notes, new.label, new.status)
    response.headers["Location"] = f"/tasks/{row['id']}"
    return Task(**row)
