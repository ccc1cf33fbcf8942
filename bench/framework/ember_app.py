"""Typed bodies, a tree of dependencies, middlewares of every form. Arguments: the port, the build.

`bench/peers/apps/fastapi_typed.py` is the same for FastAPI.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import pydantic
from ember import Blueprint, Depends, Ember, Events, Request, Response
from ember._build import PURE

app = Ember()


@app.get("/")
async def hello() -> str:
    return "Hello, World!"


class NewItem(msgspec.Struct):
    title: str
    notes: str
    priority: int
    done: bool
    tags: list[str]


class Item(msgspec.Struct):
    id: int
    title: str
    notes: str
    priority: int
    done: bool
    tags: list[str]


@app.post("/structs")
async def with_structs(new: NewItem) -> Item:
    return Item(71, new.title, new.notes, new.priority, new.done, new.tags)


class NewItemModel(pydantic.BaseModel):
    title: str
    notes: str
    priority: int
    done: bool
    tags: list[str]


class ItemModel(pydantic.BaseModel):
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


@app.get("/tree")
async def tree(
    board: Annotated[int, Depends(board)],
    user: Annotated[int, Depends(user)],
    users: Annotated[int, Depends(users)],
    tasks: Annotated[int, Depends(tasks)],
) -> str:
    return str(board + user + users + tasks)


def wrapping() -> Any:
    async def middleware(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    return middleware


def before() -> Any:
    async def middleware(request: Request) -> None:
        return None

    return middleware


class Both:
    async def before(self, request: Request) -> None:
        return None

    async def after(self, request: Request, response: Response) -> None:
        return None


class SyncBoth:
    def before(self, request: Request) -> None:
        return None

    def after(self, request: Request, response: Response) -> None:
        return None


app.add_route("/sync-objects", hello, methods=["GET"], middlewares=[SyncBoth() for _ in range(10)])
app.add_route("/wrapping", hello, methods=["GET"], middlewares=[wrapping() for _ in range(10)])
app.add_route("/before", hello, methods=["GET"], middlewares=[before() for _ in range(10)])
app.add_route("/objects", hello, methods=["GET"], middlewares=[Both() for _ in range(10)])

hooked_before, hooked_after = Blueprint(), Blueprint()
sync_before, sync_after = Blueprint(), Blueprint()
for _ in range(10):

    @hooked_before.hook(Events.BEFORE_ENDPOINT)
    async def early(request: Request) -> None:
        return None

    @hooked_after.hook(Events.AFTER_ENDPOINT)
    async def late(request: Request, response: Response) -> None:
        return None

    @sync_before.hook(Events.BEFORE_ENDPOINT)
    def sync_early(request: Request) -> None:
        return None

    @sync_after.hook(Events.AFTER_ENDPOINT)
    def sync_late(request: Request, response: Response) -> None:
        return None


hooked_before.add_route("/hooks-before", hello, methods=["GET"])
hooked_after.add_route("/hooks-after", hello, methods=["GET"])
sync_before.add_route("/sync-hooks", hello, methods=["GET"])
sync_after.add_route("/sync-after", hello, methods=["GET"])
for part in (hooked_before, hooked_after, sync_before, sync_after):
    app.add_blueprint(part)


if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)
