"""The application that is measured: one line. Arguments: the port, the build."""

from __future__ import annotations

import os
import sys

from ember import Ember
from ember._build import PURE

app = Ember()
app.static("/", os.environ["BENCH_FILES"])

if __name__ == "__main__":
    if (sys.argv[2] == "pure") != PURE:
        raise SystemExit(f"the {sys.argv[2]} build was asked for and is not there: `make build`")
    app.run(port=int(sys.argv[1]), workers=1, startup_message=False)
