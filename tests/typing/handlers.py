"""Decorators keep the type of what they decorate, and what a handler gets has a type: mypy and
pyright read this file, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, assert_type

from ember import (
    BackgroundTasks,
    Depends,
    Ember,
    Events,
    HTMLResponse,
    HTTPError,
    Query,
    Request,
    Response,
    ServerSentEvent,
    SSEResponse,
    Templates,
    UploadFile,
)

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
    assert_type(await app.get("/x")(show)(1, request), dict[str, int])
    assert_type(request.method, str)
    assert_type(request.path_params, dict[str, Any])
    assert_type(request.headers["host"], str)
    assert_type(request.headers.get("host"), str | None)
    assert_type(request.args.get("q"), str | None)
    assert_type(request.args.get_all("q"), list[str])
    assert_type(request.cookies, dict[str, str])
    assert_type(request.client, tuple[str, int] | None)
    assert_type(await request.body(), bytes)
    assert_type(await request.text(), str)
    async for chunk in request.stream:
        assert_type(chunk, bytes)
    assert_type(request.render_template("page.html", {"a": 1}), HTMLResponse)
    assert_type(Templates("templates", app=app).render("page.html"), HTMLResponse)


class Page:
    def __init__(self, limit: int) -> None:
        self.limit = limit


def paging(limit: Annotated[int, Query(ge=1)] = 20) -> Page:
    return Page(limit)


@app.get("/paged", name="paged", deprecated=False, include_in_schema=True)
async def paged(
    page: Annotated[Page, Depends(paging)],
    tasks: BackgroundTasks,
    file: UploadFile | None = None,
    old: Page = Depends(paging),  # noqa: B008
) -> list[int]:
    assert_type(page, Page)
    assert_type(page.limit, int)
    assert_type(old, Page)
    tasks.add_task(paging, 3)
    if file is not None:
        assert_type(await file.read(), bytes)
    return [page.limit]
