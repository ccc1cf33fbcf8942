"""How many values a JSON or MessagePack body has, before anything is made of them.

A body of a few MiB can name millions of values: twenty-five times its size in memory, and seconds
of a validator's work in which the loop stands still. So what is larger than `SMALL` is counted
first (`RouteLimits.max_values`), and read without the garbage collector.
"""

from __future__ import annotations

import gc

from ember._json import loads
from ember.exceptions import BadRequest, PayloadTooLarge
from ember.limits import LEAST_VALUES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")

#: Bytes of a body that is read as it is: it has no more values than any limit allows.
SMALL = LEAST_VALUES

#: Bytes that are looked at in one step.
_BLOCK = 65536
#: For the first bytes 0xc0 to 0xdf of a MessagePack value: how many bytes follow, and how many of
#: them say the length of what follows after that.
_FIXED = bytes((0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8)) + bytes(
    (1, 2, 4, 8, 2, 3, 5, 9, 17, 0, 0, 0, 2, 4, 2, 4)
)
_LENGTH = bytes((0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0)) + bytes(
    (0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 0, 0, 0, 0)
)


def json_exceeds(data: bytes, most: int) -> bool:
    """Whether JSON has more than `most` values, counted by the `[`, `{` and `,` outside its
    strings. Says something of what is not JSON, too; who decodes it refuses that."""
    if _marks(data) <= most:
        return False
    # Backslashes are in strings only. Without the escapes of quotes, and of backslashes before
    # them, every second piece between quotes is in none.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    found = inside = 0
    for at in range(0, len(plain), _BLOCK):
        pieces = plain[at : at + _BLOCK].split(b'"')
        found += _marks(b"".join(pieces[inside::2]))
        if found > most:
            return True
        inside ^= (len(pieces) - 1) & 1
    return False


def _marks(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def msgpack_exceeds(data: bytes, most: int) -> bool:
    """Whether MessagePack has more than `most` values, the keys of maps among them."""
    found = at = 0
    size = len(data)
    while at < size:
        found += 1
        if found > most:
            return True
        kind = data[at]
        at += 1
        if 0xA0 <= kind < 0xC0:  # a short string
            at += kind & 0x1F
        elif 0xC0 <= kind < 0xE0:
            width = _LENGTH[kind - 0xC0]
            if width:
                at += int.from_bytes(data[at : at + width], "big")
            at += _FIXED[kind - 0xC0] + width
    return False


def check_values(data: bytes, most: int, form: str = "json") -> None:
    """Raises `PayloadTooLarge` for a body with more than `most` values."""
    # A value has at least a byte.
    if len(data) > most:
        exceeds = msgpack_exceeds if form == "msgpack" else json_exceeds
        if exceeds(data, most):
            raise PayloadTooLarge(f"the request body has more than {most} values")


def undisturbed(read: Callable[..., Result], *arguments: object) -> Result:
    """`read(*arguments)` without the garbage collector.

    What is read is a tree, in which there is no garbage; CPython 3.11 would look through all of it
    again and again while it grows, for several times as long as reading takes."""
    if not gc.isenabled():
        return read(*arguments)
    gc.disable()
    try:
        return read(*arguments)
    finally:
        gc.enable()


def read_json(data: bytes, most: int) -> Any:
    """The value of a JSON body. Raises `BadRequest` if it is not valid JSON, `PayloadTooLarge` if
    it has more than `most` values."""
    check_values(data, most)
    try:
        return loads(data) if len(data) <= SMALL else undisturbed(loads, data)
    except Exception as error:  # noqa: BLE001 - msgspec raises more than one kind
        raise BadRequest(f"the body is not JSON: {error}") from None
