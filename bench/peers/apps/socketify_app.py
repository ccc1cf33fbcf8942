"""socketify's own framework."""

# mypy: ignore-errors
# (What is imported here lives in the peers' own environment, not in ours.)
import sys

import msgspec
from socketify import App

app = App()


async def hello(res, req):
    res.write_header("Content-Type", "text/plain; charset=utf-8")
    res.end("Hello, World!")


async def message(res, req):
    res.write_header("Content-Type", "application/json")
    res.end(msgspec.json.encode({"message": "Hello, World!"}))


def item(res, req):
    res.write_header("Content-Type", "text/plain; charset=utf-8")
    res.end(f"item {int(req.get_parameter(0))}")


async def echo(res, req):
    document = await res.get_json()

    def answer(res):
        res.write_header("Content-Type", "application/json")
        res.end(msgspec.json.encode(document))

    res.cork(answer)


app.get("/", hello)
app.get("/json", message)
app.get("/items/:id", item)
app.post("/echo", echo)
app.listen({"port": int(sys.argv[1]), "host": "127.0.0.1"}, lambda config: None)
app.run()
