"""Typed bodies, a tree of dependencies, middlewares of every form. Arguments: the port, the build.

`bench/peers/apps/typed.py` is what FastAPI is given too.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from ember import Blueprint, Depends, Ember, Events, Request, Response
from ember._build import PURE

from bench.peers.apps.typed import create, tree_with

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


app.post("/models")(create)
app.get("/tree")(tree_with(Depends))


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
