"""Starlette; with DATABASE_URL set also the database case."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import os
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route


async def hello(request):
    return PlainTextResponse("Hello, World!")


async def message(request):
    return JSONResponse({"message": "Hello, World!"})


async def item(request):
    return PlainTextResponse(f"item {request.path_params['item_id']}")


async def echo(request):
    return JSONResponse(await request.json())


async def row(request):
    async with request.app.state.pool.acquire() as connection:
        found = await connection.fetchrow(
            "SELECT id, title FROM item WHERE id = $1", request.path_params["item_id"]
        )
    return JSONResponse({"id": found["id"], "title": found["title"]})


@asynccontextmanager
async def lifespan(app):
    if "DATABASE_URL" not in os.environ:
        yield
        return
    import asyncpg

    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=16, max_size=16
    ) as app.state.pool:
        yield


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", hello),
        Route("/json", message),
        Route("/items/{item_id:int}", item),
        Route("/echo", echo, methods=["POST"]),
        Route("/rows/{item_id:int}", row),
    ],
)
