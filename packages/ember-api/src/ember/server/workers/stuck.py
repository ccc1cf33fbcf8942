"""Finds the handler that a stuck worker runs, in the stack that faulthandler wrote."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ember.server.processes.dumps import FRAME

if TYPE_CHECKING:
    from ember.routing.route import Route


def busy_route(stack: Iterable[str], routes: Iterable[Route]) -> str:
    """Text like `GET /users/{id}: list_users, main.py:12`; "" if no handler is in the stack."""
    handlers = [(route, code) for route in routes if (code := _code(route.handler)) is not None]
    for line in stack:
        found = FRAME.match(line)
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
