"""FastAPI, as its tutorial writes it."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "Hello, World!"


@app.get("/json")
async def message():
    return {"message": "Hello, World!"}


@app.get("/items/{item_id}", response_class=PlainTextResponse)
async def item(item_id: int):
    return f"item {item_id}"


@app.post("/echo")
async def echo(document: dict[str, Any]):
    return document
