"""examples/tasks as it is, over PostgreSQL. Arguments: the port, the build."""

from __future__ import annotations

import os
import sys

from ember._build import PURE

from bench.crud.statements import POOL
from examples.tasks.app import create_app
from examples.tasks.postgres import PostgresStorage

app = create_app(PostgresStorage(os.environ["DATABASE_URL"], connections=POOL))

if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)
