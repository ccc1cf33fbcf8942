"""BlackSheep."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
from blacksheep import Application, Request, get, json, post, text

app = Application()


@get("/")
async def hello():
    return text("Hello, World!")


@get("/json")
async def message():
    return json({"message": "Hello, World!"})


@get("/items/{item_id}")
async def item(item_id: int):
    return text(f"item {item_id}")


@post("/echo")
async def echo(request: Request):
    return json(await request.json())
