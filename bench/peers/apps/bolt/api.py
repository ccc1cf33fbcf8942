"""django-bolt, as its README writes it."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
from typing import Annotated, Any

from django_bolt import BoltAPI
from django_bolt.param_functions import Body
from django_bolt.responses import PlainText

api = BoltAPI(enable_logging=False, compression=False)
urlpatterns = []


@api.get("/")
async def hello():
    return PlainText("Hello, World!")


@api.get("/json")
async def message():
    return {"message": "Hello, World!"}


@api.get("/items/{item_id}")
async def item(item_id: int):
    return PlainText(f"item {item_id}")


@api.post("/echo")
async def echo(document: Annotated[dict[str, Any], Body()]):
    return document
