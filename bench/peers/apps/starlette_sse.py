"""Server-sent events to everybody with sse-starlette, as its documentation writes it.

`bench/sse/ember_app.py` is the same for Ember.
"""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import asyncio
from contextlib import asynccontextmanager

from sse_starlette.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.routing import Route

from bench.sse.feed import Feed

feed = Feed()


@asynccontextmanager
async def lifespan(app):
    task = asyncio.create_task(feed.publish())
    yield
    task.cancel()


async def listen():
    queue = asyncio.Queue()
    feed.queues.add(queue)
    try:
        while True:
            number, data = await queue.get()
            yield ServerSentEvent(data=data, event="tick", id=str(number))
    finally:
        feed.queues.discard(queue)


async def events(request):
    return EventSourceResponse(listen())


app = Starlette(lifespan=lifespan, routes=[Route("/events", events)])
