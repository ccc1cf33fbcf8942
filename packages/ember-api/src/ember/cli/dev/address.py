"""Reads the host and port of `app.run(...)` from the source of a module, without importing it: the
child process imports it, and reports its errors."""

from __future__ import annotations

import ast
import os
from typing import NamedTuple

from ember.cli.locate import MODULES


class Address(NamedTuple):
    """A host and port, with the defaults of `app.run`."""

    host: str = "127.0.0.1"
    port: int = 8000


def declared(target: str | None) -> Address:
    """The constant `host` and `port` of `app.run(...)` in the module of `target`, also under
    `if __name__ == "__main__":`. A missing value is the default."""
    path, _, attribute = _file(target).rpartition(":")
    try:
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return Address()
    names = {attribute} if attribute else _applications(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.func.attr == "run" and isinstance(owner, ast.Name) and owner.id in names:
                return _address(node)
    return Address()


def _file(target: str | None) -> str:
    """`path:attribute` for a target."""
    name, attribute = "", ""
    if target is not None:
        name, _, attribute = target.partition(":")
        if name.endswith(".py"):
            return f"{name}:{attribute}"
    for module in [name.replace(".", os.sep)] if name else MODULES:
        for path in (f"{module}.py", os.path.join(module, "__init__.py")):
            if os.path.exists(path):
                return f"{path}:{attribute}"
    return ":"


def _applications(tree: ast.Module) -> set[str]:
    """The names of variables with an `Ember(...)`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            made = node.value.func
            if getattr(made, "id", getattr(made, "attr", "")) == "Ember":
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(t.id for t in targets if isinstance(t, ast.Name))
    return found


def _address(call: ast.Call) -> Address:
    given = dict(zip(Address._fields, call.args, strict=False))
    given |= {k.arg: k.value for k in call.keywords if k.arg in Address._fields}
    values = {n: v.value for n, v in given.items() if isinstance(v, ast.Constant)}
    host, port = values.get("host"), values.get("port")
    return Address(
        host if isinstance(host, str) else Address().host,
        port if type(port) is int and 0 <= port <= 65535 else Address().port,
    )
