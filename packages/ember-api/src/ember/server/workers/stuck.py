"""Finds the handler that a stuck worker runs, in the stack that faulthandler wrote."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ember.routing.route import Route

_FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')
_MAIN = ("Current thread", "Thread")


def main_stack(stack: Sequence[str]) -> list[str]:
    """The part of the stack for the main thread, which runs the event loop."""
    for start, line in enumerate(stack):
        if line.startswith("Current thread"):
            end = start + 1
            while end < len(stack) and stack[end].startswith("  "):
                end += 1
            return list(stack[start:end])
    return list(stack)


def busy_route(stack: Iterable[str], routes: Iterable[Route]) -> str:
    """Text like `GET /users/{id}: list_users, main.py:12`; "" if no handler is in the stack."""
    handlers = [(route, code) for route in routes if (code := _code(route.handler)) is not None]
    for line in stack:
        found = _FRAME.match(line)
        if found is None:
            continue
        file, number, name = found.groups()
        for route, code in handlers:
            if code.co_filename == file and code.co_name == name:
                methods = "/".join(route.methods)
                return f"{methods} {route.path}: {name}, {file}:{number}"
    return ""


def _code(handler: Callable[..., Any]) -> Any:
    handler = inspect.unwrap(handler)
    return getattr(getattr(handler, "__func__", handler), "__code__", None)
