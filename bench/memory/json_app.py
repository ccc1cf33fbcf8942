"""A small JSON application: six routes, one of them cached. Argument: the port."""

from __future__ import annotations

from ember import Ember, Request
from ember.cache import TTLCache

app = Ember()


@app.get("/")
async def hello() -> dict[str, str]:
    return {"message": "Hello, World!"}


@app.get("/list", cache=TTLCache(60))
async def items() -> list[dict[str, int]]:
    return [{"id": 1}]


@app.get("/items/{item_id:int}")
async def item(item_id: int) -> dict[str, int]:
    return {"id": item_id}


@app.post("/items")
async def create(request: Request) -> object:
    return await request.json()


@app.put("/items/{item_id:int}")
async def change(item_id: int, request: Request) -> object:
    return await request.json()


@app.delete("/items/{item_id:int}")
async def remove(item_id: int) -> None:
    return None


if __name__ == "__main__":
    import sys

    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)
