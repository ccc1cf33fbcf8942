"""What others import from Ember stays where it is: `public_names.txt` lists it all.

A name that is added or taken away shows as a change of that file: `python -m
tests.test_public_names` writes it again.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.once_per_build

LIST = Path(__file__).with_name("public_names.txt")
MODULES = (
    "ember",
    "ember.cache",
    "ember.eventloop",
    "ember.exceptions",
    "ember.headers",
    "ember.limits",
    "ember.protocol",
    "ember.request",
    "ember.response",
    "ember.testing",
)


def names_of(module: ModuleType) -> list[str]:
    """`__all__`; without one, what the module itself defines."""
    found = getattr(module, "__all__", None)
    if found is None:
        found = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    return sorted(found)


def listing() -> str:
    """A line for each name, with its module."""
    lines = [
        f"{name}.{public}" for name in MODULES for public in names_of(importlib.import_module(name))
    ]
    return "\n".join(lines) + "\n"


def test_the_public_names_are_those_of_the_list() -> None:
    assert listing().splitlines() == LIST.read_text().splitlines()


@pytest.mark.parametrize("line", LIST.read_text().split() if LIST.exists() else ["missing"])
def test_a_public_name_can_be_imported(line: str) -> None:
    module, _, name = line.rpartition(".")
    assert getattr(importlib.import_module(module), name) is not None


if __name__ == "__main__":
    LIST.write_text(listing())
