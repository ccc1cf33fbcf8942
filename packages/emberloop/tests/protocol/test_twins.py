"""The compiled classes that handlers see and their pure stand-ins have the same public names."""

from __future__ import annotations

import importlib

import pytest
from ember._build import PURE

#: Coroutines behind members of the compiled Request; a compiled class hides nothing by a name.
INNER = {"read_body", "read_json", "read_stream"}


def public(module: str, name: str) -> set[str]:
    owner = getattr(importlib.import_module(module), name)
    return {member for member in dir(owner) if not member.startswith("_")}


@pytest.mark.skipif(PURE, reason="there is nothing to compare with where nothing is compiled")
@pytest.mark.parametrize("name", ["Request", "Response"])
def test_both_builds_have_the_same_public_names(name: str) -> None:
    compiled = public(f"ember.protocol._{name.lower()}", name)
    pure = public(f"ember.protocol.pure.{name.lower()}", name)
    assert compiled - INNER == pure
