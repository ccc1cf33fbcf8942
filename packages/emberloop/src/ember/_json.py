"""JSON through the fastest codec that is installed: msgspec, else the standard library.

Where orjson is installed (the extra `fast`) it writes plain dicts and lists, in half the time; what
it would write otherwise than msgspec, or not at all, is left to msgspec. It never reads: it makes
floats of integers beyond 64 bits.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_codec: tuple[Callable[[object], bytes], Callable[[bytes], Any]] | None = None


def plain_encoder() -> tuple[Callable[..., bytes], int] | None:
    """orjson's `dumps` and the options for it, or None where it is not installed.

    `dumps(value, None, options)` raises TypeError for whatever msgspec may write in another form:
    dates, dataclasses, subclasses of int and dict.
    """
    try:
        import orjson
    except ImportError:
        return None
    return orjson.dumps, (
        orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
        | orjson.OPT_PASSTHROUGH_SUBCLASS
    )


def preferring_orjson(encode: Callable[[object], bytes]) -> Callable[[object], bytes]:
    """`encode`, behind orjson for dicts and lists where that is installed."""
    plain = plain_encoder()
    if plain is None:
        return encode
    dumps, options = plain

    def fast(value: object) -> bytes:
        cls = type(value)
        if cls is dict or cls is list:
            try:
                return dumps(value, None, options)
            except TypeError:
                pass  # something in it is not plain: the whole is msgspec's
        return encode(value)

    return fast


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
        _codec = (preferring_orjson(msgspec.json.Encoder().encode), msgspec.json.Decoder().decode)
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
