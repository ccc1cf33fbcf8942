"""Annotations are found wherever they were written, and pydantic only where it is used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import msgspec
from ember.binding import compile_binding
from ember.binding.markers import Depends, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember.request import Request

    from .conftest import Ask  # type: ignore[import-not-found,unused-ignore]


def test_a_class_defined_later_in_the_module(ask: Ask) -> None:
    async def handler(item: Later) -> str:
        return item.name

    assert ask(handler, method="POST", body={"name": "x"}).body == b"x"


def test_only_a_part_is_a_string(ask: Ask) -> None:
    async def handler(items: Any) -> int:
        return len(items)

    handler.__annotations__["items"] = list["Later"]
    assert ask(handler, method="POST", body=[{"name": "x"}]).json == 1


class Later(msgspec.Struct):
    name: str


def make() -> tuple[Callable[..., Any], Any]:
    class Local(msgspec.Struct):
        name: str

    async def shout(item: Local) -> str:
        return item.name.upper()

    async def handler(item: Local, loud: Annotated[str, Depends(shout)]) -> list[str]:
        return [item.name, loud]

    # What an application factory does: register, and return later.
    compile_binding(handler, methods=["POST"])
    return handler, Local


def test_names_of_an_application_factory_are_remembered(ask: Ask) -> None:
    handler, _ = make()
    assert ask(handler, method="POST", body={"name": "x"}).json == ["x", "X"]


def test_the_request_imported_for_type_checking_only(ask: Ask) -> None:
    async def handler(incoming: Request) -> str:
        return incoming.path

    assert ask(handler, "/a").body == b"/a"


def test_a_decorated_handler_is_seen_through(ask: Ask) -> None:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return wrapper

    @decorate
    async def handler(item: Later, n: int = 1) -> list[Any]:
        return [item.name, n]

    assert ask(handler, "/?n=2", method="POST", body={"name": "x"}).json == ["x", 2]


def test_methods_and_callable_objects(ask: Ask) -> None:
    class Handlers:
        async def get(self, n: int) -> int:
            return n

        async def __call__(self, n: Annotated[int, Query(ge=1)]) -> int:
            return n + 1

    assert ask(Handlers().get, "/?n=2").json == 2
    assert ask(Handlers(), "/?n=2").json == 3


def test_positional_only_and_keyword_only_parameters(ask: Ask) -> None:
    async def handler(a: int, /, b: int, *, c: int = 3) -> list[int]:
        return [a, b, c]

    assert ask(handler, "/?a=1&b=2").json == [1, 2, 3]


def test_pydantic_is_not_imported_for_those_who_do_not_use_it() -> None:
    program = """
import sys, dataclasses, msgspec
from typing import Annotated, TypedDict
from ember.binding import compile_binding
from ember.binding.markers import Depends, Query
class S(msgspec.Struct): a: int
@dataclasses.dataclass
class D: a: int
class T(TypedDict): a: int
async def dep(q: Annotated[int, Query(ge=1)]): ...
async def handler(s: S, d: D, t: T, x: Annotated[int, Depends(dep)]): ...
compile_binding(handler, methods=["POST"])
print([m for m in ("pydantic", "attr", "fastapi") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
