"""Pydantic bodies and a tree of ten dependencies: the same code for Ember and for FastAPI.

As the tutorials of both write them; `Depends` and `Annotated` are spelled alike in both.
"""

# No postponed annotations: those of the tree must be looked up while it is being made.
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import BaseModel


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


async def create(new: NewItemModel) -> ItemModel:
    return ItemModel(
        id=71,
        title=new.title,
        notes=new.notes,
        priority=new.priority,
        done=new.done,
        tags=new.tags,
    )


def tree_with(Depends: Any) -> Callable[..., Awaitable[str]]:
    """A handler that needs the whole tree; `Depends` is the framework's."""

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

    async def user(
        users: Annotated[int, Depends(users)], clock: Annotated[int, Depends(clock)]
    ) -> int:
        return users + clock

    async def quota(
        user: Annotated[int, Depends(user)], store: Annotated[int, Depends(store)]
    ) -> int:
        return user + store

    async def audit(
        user: Annotated[int, Depends(user)], clock: Annotated[int, Depends(clock)]
    ) -> int:
        return user + clock

    async def board(
        tasks: Annotated[int, Depends(tasks)],
        quota: Annotated[int, Depends(quota)],
        audit: Annotated[int, Depends(audit)],
    ) -> int:
        return tasks + quota + audit

    async def tree(
        board: Annotated[int, Depends(board)],
        user: Annotated[int, Depends(user)],
        users: Annotated[int, Depends(users)],
        tasks: Annotated[int, Depends(tasks)],
    ) -> str:
        return str(board + user + users + tasks)

    return tree
