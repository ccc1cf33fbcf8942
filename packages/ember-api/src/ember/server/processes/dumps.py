"""Reads the stacks that faulthandler writes, and finds the line of the program in them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence

FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')


def main_stack(stack: Sequence[str]) -> list[str]:
    """The part of the stack for the main thread, which runs the event loop."""
    for start, line in enumerate(stack):
        if line.startswith("Current thread"):
            end = start + 1
            while end < len(stack) and stack[end].startswith("  "):
                end += 1
            return list(stack[start:end])
    return list(stack)


def is_program(file: str) -> bool:
    """Whether a source file is neither Ember's nor of the standard library."""
    ours = (
        os.path.join(folder, "") for folder in getattr(sys.modules.get("ember"), "__path__", ())
    )
    if file.startswith((*ours, "<frozen")):
        return False
    return "site-packages" in file or not file.startswith(os.path.dirname(os.__file__))


def place(stack: Iterable[str]) -> str:
    """The innermost line of the program in a stack, as `main.py:3`: of a file below the current
    folder, or else of an installed package. "" if the stack has none."""
    folder, elsewhere = os.path.join(os.getcwd(), ""), ""
    for line in stack:
        found = FRAME.match(line)
        if found is None or not is_program(found[1]):
            continue
        if found[1].startswith(folder) and "site-packages" not in found[1]:
            return f"{found[1].removeprefix(folder)}:{found[2]}"
        elsewhere = elsewhere or f"{found[1]}:{found[2]}"
    return elsewhere
