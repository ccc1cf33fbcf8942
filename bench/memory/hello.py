"""The smallest application, as the tutorial begins. Argument: the port."""

from __future__ import annotations

from ember import Ember

app = Ember()


@app.get("/")
async def hello() -> str:
    return "Hello, World!"


if __name__ == "__main__":
    import sys

    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)
