"""FastAPI with pydantic bodies and a tree of dependencies, as its tutorial writes them.

`bench/framework/ember_app.py` is the same for Ember.
"""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "Hello, World!"


class NewItemModel(BaseModel):
    title: str
    notes: str
    priority: int
    done: bool
    tags: list[str]


class ItemModel(BaseModel):
    id: int
    title: str
    notes: str
    priority: int
    done: bool
    tags: list[str]


@app.post("/models")
async def with_models(new: NewItemModel) -> ItemModel:
    return ItemModel(
        id=71,
        title=new.title,
        notes=new.notes,
        priority=new.priority,
        done=new.done,
        tags=new.tags,
    )


async def settings() -> int:
    return 1


async def clock() -> int:
    return 1


async def connection(settings: Annotated[int, Depends(settings)]) -> int:
    return settings + 1


async def store(settings: Annotated[int, Depends(settings)]) -> int:
    return settings + 1


async def users(
    connection: Annotated[int, Depends(connection)], store: Annotated[int, Depends(store)]
) -> int:
    return connection + store


async def tasks(connection: Annotated[int, Depends(connection)]) -> int:
    return connection + 1


async def user(users: Annotated[int, Depends(users)], clock: Annotated[int, Depends(clock)]) -> int:
    return users + clock


async def quota(user: Annotated[int, Depends(user)], store: Annotated[int, Depends(store)]) -> int:
    return user + store


async def audit(user: Annotated[int, Depends(user)], clock: Annotated[int, Depends(clock)]) -> int:
    return user + clock


async def board(
    tasks: Annotated[int, Depends(tasks)],
    quota: Annotated[int, Depends(quota)],
    audit: Annotated[int, Depends(audit)],
) -> int:
    return tasks + quota + audit


@app.get("/tree", response_class=PlainTextResponse)
async def tree(
    board: Annotated[int, Depends(board)],
    user: Annotated[int, Depends(user)],
    users: Annotated[int, Depends(users)],
    tasks: Annotated[int, Depends(tasks)],
):
    return str(board + user + users + tasks)
