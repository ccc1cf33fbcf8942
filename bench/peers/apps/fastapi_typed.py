"""FastAPI with the pydantic bodies and the tree of dependencies that Ember has too (typed.py)."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse

from bench.peers.apps.typed import create, tree_with

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "Hello, World!"


app.post("/models")(create)
# The handler says that it returns a str; the model of the response is left out, so that it is not
# validated on top of what Ember does.
app.get("/tree", response_class=PlainTextResponse, response_model=None)(tree_with(Depends))
