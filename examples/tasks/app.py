"""The routes of the task board. `create_app` makes the application over any storage."""

import logging
import platform
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import ember
from ember import (
    Body,
    Ember,
    HTTPError,
    ProblemResponse,
    Query,
    Request,
    Response,
    RouteLimits,
    SSEResponse,
    StartError,
)
from ember.cache import Cache

from .events import ChangeFeed
from .models import ListQuery, NewTask, Task, TaskChange, TaskPage
from .pages import add_page
from .seed import seed
from .storage import MAX_ID, Storage, StorageUnavailable, from_environment

logger = logging.getLogger("tasks")

# A change that has begun is finished and sent to every page, even if the client that asked for it
# has left meanwhile.
FINISH = RouteLimits(max_body_size=128 * 1024, cancel_on_disconnect=False)

# Other sites can make a browser send forms and plain text here, but not JSON.
JSON = Body(media_type="application/json")


def application() -> Ember:
    """The board on the database that the environment names: `ember start --app` takes this."""
    return create_app(from_environment())


def create_app(storage: Storage, *, list_cache: Cache | None = None) -> Ember:
    """`list_cache`, such as `TTLCache(ttl=1.0)`, caches the responses of GET /tasks. A POST
    invalidates them; other changes are seen when the ttl is over."""
    app = Ember(title="Tasks", version="1.0")
    feed = ChangeFeed()

    @app.lifespan
    async def database() -> AsyncIterator[None]:
        try:
            if await storage.open():
                await seed(storage)
        except StorageUnavailable as error:
            raise StartError(str(error)) from None
        try:
            yield
        finally:
            await storage.close()

    @app.get("/tasks", cache=list_cache)
    async def list_tasks(query: Annotated[ListQuery, Query()]) -> TaskPage:
        items, total = await storage.list(
            status=query.status, search=query.search, limit=query.limit, offset=query.offset
        )
        return TaskPage(items, total, query.limit, query.offset)

    @app.get("/tasks/{id:int}")
    async def get_task(id: int) -> Task:
        return found(id, await storage.get(known(id)))

    @app.post("/tasks", limits=FINISH)
    async def create_task(
        new: Annotated[NewTask, JSON],
    ) -> tuple[Task, Literal[201], dict[str, str]]:
        task = await storage.create(new)
        feed.publish("created", task)
        return task, 201, {"Location": f"/tasks/{task.id}"}

    @app.put("/tasks/{id:int}", limits=FINISH)
    async def replace_task(id: int, new: Annotated[NewTask, JSON]) -> Task:
        change = TaskChange(new.title, new.notes, new.label, new.status, new.position)
        return await apply(id, change)

    @app.patch("/tasks/{id:int}", limits=FINISH)
    async def change_task(id: int, change: Annotated[TaskChange, JSON]) -> Task:
        return await apply(id, change)

    async def apply(id: int, change: TaskChange) -> Task:
        task = found(id, await storage.update(known(id), change))
        feed.publish("updated", task)
        return task

    @app.delete("/tasks/{id:int}", limits=FINISH)
    async def delete_task(id: int) -> None:
        if not await storage.delete(known(id)):
            raise no_such_task(id)
        feed.publish("deleted", {"id": id})

    @app.get("/events")
    async def events(request: Request) -> Response:
        return SSEResponse(feed.subscribe(request.headers.get("Last-Event-ID")))

    @app.handle(StorageUnavailable)
    async def storage_unavailable(request: Request, error: StorageUnavailable) -> Response:
        logger.error("%s %s: %s", request.method, request.path, error)
        return ProblemResponse(503, "The database does not answer.", headers={"Retry-After": "5"})

    @app.get("/status")
    async def status() -> dict[str, object]:
        """What the strip at the bottom of the page shows."""
        server = app.server
        return {
            "loop": server.loop_name if server else "",
            "requests": server.requests if server else 0,
            "pages": feed.subscribers,
            "storage": storage.name,
            "version": ember.__version__,
            "python": platform.python_version(),
        }

    add_page(app)
    return app


def known(id: int) -> int:
    """An id that the database can be asked for."""
    if id > MAX_ID:
        raise no_such_task(id)
    return id


def found(id: int, task: Task | None) -> Task:
    if task is None:
        raise no_such_task(id)
    return task


def no_such_task(id: int) -> HTTPError:
    return HTTPError(404, f"There is no task {id}.")
