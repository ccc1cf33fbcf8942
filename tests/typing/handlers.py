"""Decorators keep the type of what they decorate: mypy reads this file, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import assert_type

from ember import Ember, Events, HTTPError, Request, Response, ServerSentEvent, SSEResponse

app = Ember()


@app.get("/tasks/{id:int}", name="task", tags=["tasks"], status_code=200)
async def show(id: int, request: Request) -> dict[str, int]:
    return {"id": id}


@app.post("/tasks")
def create() -> tuple[str, int]:
    return "created", 201


@app.handle(404)
async def missing(request: Request, error: HTTPError) -> Response:
    return Response(error.detail, 404)


@app.hook(Events.AFTER_SERVER_START)
async def started() -> None: ...


@app.lifespan
async def database() -> AsyncIterator[None]:
    yield


async def ticks() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(1, event="tick")


async def check(request: Request) -> None:
    assert_type(await show(1, request), dict[str, int])
    assert_type(create, Callable[[], tuple[str, int]])
    assert_type(create(), tuple[str, int])
    assert_type(await missing(request, HTTPError(404)), Response)
    assert_type(database(), AsyncIterator[None])
    assert_type(app.url_for("task", id=3), str)
    assert_type(SSEResponse(ticks()), SSEResponse)
