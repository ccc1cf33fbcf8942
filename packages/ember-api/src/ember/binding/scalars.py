"""Text to numbers and booleans: what queries are mostly made of, without a library in between."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

# JSON's integers and a plus sign; `int` itself takes spaces, underscores and other scripts' digits.
# The quantifiers are possessive: nothing is tried twice, so that long text costs linear time.
_integer = re.compile(r"[+-]?[0-9]{1,4300}+").fullmatch
_number = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?").fullmatch

# What HTML checkboxes, people and other frameworks send.
_BOOLEANS = {
    **dict.fromkeys(("1", "true", "True", "TRUE", "on", "yes", "t", "y"), True),
    **dict.fromkeys(("0", "false", "False", "FALSE", "off", "no", "f", "n"), False),
}


def parse_int(text: str) -> int:
    """A whole number. Raises ValueError."""
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
    """A finite number. Raises ValueError."""
    if _number(text) is None:
        raise ValueError("expected a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("expected a number that a double can hold")
    return value


def parse_bool(text: str) -> bool:
    """A boolean, as forms and people write it. Raises ValueError."""
    value = _BOOLEANS.get(text)
    if value is None:
        value = _BOOLEANS.get(text.lower())
        if value is None:
            raise ValueError("expected true or false")
    return value


def parse_bool_or(text: str) -> bool | str:
    """A boolean; text that is none as it is."""
    try:
        return parse_bool(text)
    except ValueError:
        return text


#: The parsers by type, with pydantic's name for their fault.
PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (parse_int, "int_parsing"),
    float: (parse_float, "float_parsing"),
    bool: (parse_bool, "bool_parsing"),
}
