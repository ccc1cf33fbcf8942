"""examples/tasks as it is, over PostgreSQL. Arguments: the port, the build.

With CRUD_CACHE set, lists are kept for so many seconds.
"""

from __future__ import annotations

import os
import sys

from ember._build import PURE
from ember.cache import TTLCache

from bench.crud.statements import POOL
from examples.tasks.app import create_app
from examples.tasks.postgres import PostgresStorage

seconds = os.environ.get("CRUD_CACHE")
app = create_app(
    PostgresStorage(os.environ["DATABASE_URL"], connections=POOL),
    list_cache=TTLCache(ttl=float(seconds)) if seconds else None,
)

if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)
