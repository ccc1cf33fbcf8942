"""Named schemas of a document: each once, and two of one name told apart."""

from __future__ import annotations

import re
from typing import Any

REF_TEMPLATE = "#/components/schemas/{name}"
_PREFIX = "#/components/schemas/"
#: What a key under `components` is made of (OpenAPI 3.1 section 4.8.7).
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._-]+")

Schema = dict[str, Any]

#: A decimal number as text: JSON Schema knows no format for it, so that this says what is meant.
_DECIMAL = r"^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?$"
#: What pydantic says of a Decimal, which it writes with an exponent all the same.
_PYDANTIC_DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"


class Components:
    """`schemas` of the document so far."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def add(self, schema: Schema, named: dict[str, Schema]) -> Schema:
        """Take over the schemas that `schema` refers to; `schema` with its references right.

        A name that means something else here already is given a number: `Task`, `Task_2`.
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
        """Rename what means something else already; whether anything was renamed.

        To rename one changes those that refer to it, which may clash for it in turn.
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
    """Move `$defs` that stand inside of a schema to the named ones, where references expect them;
    and say what a decimal is."""
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
    """A copy whose references follow `names`."""
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
