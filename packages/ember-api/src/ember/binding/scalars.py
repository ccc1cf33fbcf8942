"""Converts text to numbers and booleans, without a library: most queries need nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

# The integers of JSON, and a plus sign. `int` itself accepts spaces, underscores and digits of
# other scripts. The quantifiers are possessive (no backtracking): long text takes linear time.
_integer = re.compile(r"[+-]?[0-9]{1,4300}+").fullmatch
_number = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?").fullmatch

# The values that HTML checkboxes, people and other frameworks send.
_BOOLEANS = {
    **dict.fromkeys(("1", "true", "True", "TRUE", "on", "yes", "t", "y"), True),
    **dict.fromkeys(("0", "false", "False", "FALSE", "off", "no", "f", "n"), False),
}


def parse_int(text: str) -> int:
    """Parse a whole number. Raises ValueError."""
    size = len(text)
    if 0 < size < 19:
        number = 0
        for letter in text:
            if letter < "0" or letter > "9":
                break
            number = number * 10 + (ord(letter) - 48)
        else:
            return number
    if _integer(text) is None:
        raise ValueError("expected a whole number")
    return int(text)


def parse_float(text: str) -> float:
    """Parse a finite number. Raises ValueError."""
    if _number(text) is None:
        raise ValueError("expected a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("expected a number that a double can hold")
    return value


def parse_bool(text: str) -> bool:
    """Parse a boolean, as forms and people write it. Raises ValueError."""
    value = _BOOLEANS.get(text)
    if value is None:
        value = _BOOLEANS.get(text.lower())
        if value is None:
            raise ValueError("expected true or false")
    return value


def parse_bool_or(text: str) -> bool | str:
    """Parse a boolean; return other text unchanged."""
    try:
        return parse_bool(text)
    except ValueError:
        return text


#: The parsers by type, each with pydantic's name for its error.
PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (parse_int, "int_parsing"),
    float: (parse_float, "float_parsing"),
    bool: (parse_bool, "bool_parsing"),
}
