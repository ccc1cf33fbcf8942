"""The named schemas of a document: each once, and different schemas with different names."""

from __future__ import annotations

import re
from typing import Any

REF_TEMPLATE = "#/components/schemas/{name}"
_PREFIX = "#/components/schemas/"
#: Characters that are not allowed in a key under `components` (OpenAPI 3.1 section 4.8.7).
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._-]+")

Schema = dict[str, Any]

#: A decimal number as text. JSON Schema has no format for it.
_DECIMAL = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?$"
#: The pattern of pydantic for a Decimal. It is wrong: pydantic also writes exponents.
_PYDANTIC_DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"


class Components:
    """Collects the `schemas` of a document."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def add(self, schema: Schema, named: dict[str, Schema]) -> Schema:
        """Add the `named` schemas that `schema` refers to. Returns `schema` with right references.

        If a name is taken by another schema, a number is added: `Task`, `Task_2`.
        """
        named = dict(named)
        schema = _hoist(schema, named)
        for name in list(named):
            named[name] = _hoist(named[name], named)
        names = {name: _FORBIDDEN.sub("_", name).strip("_") or "Schema" for name in named}
        while self._clashes(named, names):
            pass
        for name, body in named.items():
            self.schemas[names[name]] = _renamed(body, names)
        result: Schema = _renamed(schema, names)
        return result

    def _clashes(self, named: dict[str, Schema], names: dict[str, str]) -> bool:
        """Rename the schemas whose name is taken by another one. Returns whether one was renamed.

        A rename changes the schemas that refer to it, so that these may clash too.
        """
        changed = False
        for name, body in named.items():
            if self._free(names[name], body, names):
                continue
            base = _FORBIDDEN.sub("_", name).strip("_") or "Schema"
            number = 2
            while True:
                names[name] = f"{base}_{number}"
                if self._free(names[name], body, names):
                    break
                number += 1
            changed = True
        return changed

    def _free(self, name: str, body: Schema, names: dict[str, str]) -> bool:
        return name not in self.schemas or self.schemas[name] == _renamed(body, names)


def _hoist(schema: Schema, named: dict[str, Schema]) -> Schema:
    """Move `$defs` inside a schema to the named schemas, where references expect them, and set the
    pattern of decimals."""
    if isinstance(schema, dict):
        inner = schema.get("$defs")
        if isinstance(inner, dict):
            for name, body in inner.items():
                named.setdefault(name, _hoist(body, named))
            schema = {key: value for key, value in schema.items() if key != "$defs"}
        decimal = schema.get("format") == "decimal" and "pattern" not in schema
        if decimal or schema.get("pattern") == _PYDANTIC_DECIMAL:
            schema = {**schema, "pattern": _DECIMAL}
        return {key: _hoist(value, named) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_hoist(item, named) for item in schema]
    return schema


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    """A copy with references that are renamed by `names`."""
    if isinstance(schema, dict):
        return {
            key: _reference(value, names)
            if key == "$ref" and isinstance(value, str)
            else {k: _reference(v, names) for k, v in value.items()}
            if key == "mapping" and isinstance(value, dict)
            else _renamed(value, names)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    return schema


def _reference(value: Any, names: dict[str, str]) -> Any:
    if not isinstance(value, str) or not value.startswith(_PREFIX):
        return value
    name = value[len(_PREFIX) :]
    return _PREFIX + names.get(name, name)
