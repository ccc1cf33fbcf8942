"""JSON through the fastest codec that is installed: msgspec, else the standard library."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_codec: tuple[Callable[[object], bytes], Callable[[bytes], Any]] | None = None


def _load() -> tuple[Callable[[object], bytes], Callable[[bytes], Any]]:
    # At first use: a program without JSON does not pay for it.
    global _codec
    try:
        import msgspec
    except ImportError:
        import json

        _codec = (
            lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),
            json.loads,
        )
    else:
        _codec = (msgspec.json.Encoder().encode, msgspec.json.Decoder().decode)
    return _codec


def dumps(value: object) -> bytes:
    """`value` as compact UTF-8 JSON. Raises `TypeError` for a type that has no JSON form."""
    return (_codec or _load())[0](value)


def decoder() -> Callable[[bytes], Any]:
    """The codec's own decoder, without a frame around it; it raises an exception of its own for
    what is no JSON."""
    return (_codec or _load())[1]


def loads(data: bytes) -> Any:
    """The value of a JSON document. Raises `ValueError` when it is none."""
    try:
        return (_codec or _load())[1](data)
    except ValueError:
        raise
    except Exception as error:
        # msgspec's own error is no ValueError.
        raise ValueError(str(error)) from error
