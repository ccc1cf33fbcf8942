"""The compiled Request and its pure stand-in have the same public names."""

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
def test_both_builds_of_request_have_the_same_public_names() -> None:
    compiled = public("ember.protocol.message._request", "Request")
    pure = public("ember.protocol.message.pure.request", "Request")
    assert compiled - INNER == pure
