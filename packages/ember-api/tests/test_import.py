"""`import ember` stays light (E14)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.waiting import tries

HEAVY = [
    "asyncio",
    "click",
    "jinja2",
    "msgspec",
    "numpy",
    "orjson",
    "pydantic",
    "redis",
    "rich",
    "uvloop",
]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def test_import_ember_loads_nothing_of_the_framework_and_nothing_optional() -> None:
    code = (
        "import sys; before = set(sys.modules); import ember;"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = python(code).split()
    assert not {name.partition(".")[0] for name in loaded} & {*HEAVY, "re", "typing"}
    assert {name for name in loaded if name.startswith("ember")} == {"ember", "ember._build"}


def test_an_application_that_answers_text_loads_no_json() -> None:
    code = """
import sys; before = set(sys.modules)
from ember import Ember
from ember.protocol import MemoryConnection
app = Ember()
@app.get("/{n:int}")
async def index(n): return "x"
c = MemoryConnection(app)
c.feed(b"GET /1 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
assert c.take().endswith(b"x")
print(*sorted(set(sys.modules) - before))
"""
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert not loaded & (set(HEAVY) - {"asyncio"})


def test_import_ember_takes_less_than_60_ms() -> None:
    code = "import time; t = time.monotonic(); import ember; print(time.monotonic() - t)"
    for bound in tries():
        bound(float(python(code)), 0.06)


def test_headers_alone_load_nothing_of_the_framework() -> None:
    code = "import ember.headers, sys; print(*(n for n in sys.modules if n.startswith('ember')))"
    loaded = python(code).split()
    assert not any(name.startswith(("ember.application", "ember.routing")) for name in loaded)


@pytest.mark.skipif(os.environ.get("EMBER_PURE", "0") != "0", reason="asks for both builds itself")
def test_ember_pure_runs_from_source() -> None:
    code = (
        "import os; os.environ['EMBER_PURE'] = '1';"
        "import ember.routing.dispatch as dispatch, ember.routing.tree as tree;"
        "print(dispatch.__file__, tree.__file__)"
    )
    assert [path.rpartition(".")[2] for path in python(code).split()] == ["py", "py"]


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    import ember

    for name in ember.__all__:
        value = getattr(ember, name)
        assert name == "__version__" or value.__doc__, name
    assert set(ember.__all__) <= set(dir(ember))
    with pytest.raises(AttributeError, match="module 'ember' has no attribute 'nothing'"):
        ember.nothing  # noqa: B018


def test_serving_loads_no_command_line_and_no_json() -> None:
    code = """
import sys
from ember import Ember
app = Ember()
@app.get("/")
async def index(): return "x"
app.run(port=0, block=False)
app.stop()
print(*sys.modules)
"""
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert not loaded & (set(HEAVY) - {"asyncio", "uvloop"})
