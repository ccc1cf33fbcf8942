"""JSON through the fastest codec that is installed: msgspec, else the standard library.

Where orjson is installed (the extra `fast`) it writes plain dicts and lists, in half the time; what
it would write otherwise than msgspec, or not at all, is left to msgspec. It never reads: it makes
floats of integers beyond 64 bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence, Set, ValuesView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Modules whose classes are written as their text: paths, addresses, pydantic's URLs and secrets.
_TEXTS = frozenset(("ipaddress", "pathlib", "pydantic", "pydantic_core", "pydantic_extra_types"))

_codec: tuple[Callable[[object], bytes], Callable[[bytes], Any]] | None = None


class NoJSONForm(TypeError):
    """A value that cannot be written as JSON."""


def json_form(value: Any) -> Any:
    """What is written as JSON for a value that msgspec does not know.

    Subclasses of str, int and float as what they are; pydantic models as their fields; paths, IP
    addresses, URLs and masked secrets as text; mappings as objects; deques, generators, ranges and
    the like as lists. Raises NoJSONForm.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    cls = type(value)
    if hasattr(cls, "model_dump"):
        return value.model_dump(mode="json")
    if not _TEXTS.isdisjoint([base.__module__.partition(".")[0] for base in cls.__mro__]):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, Set, ValuesView, Generator, deque)):
        return list(value)
    name = cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    raise NoJSONForm(f"a value of type {name} has no JSON form")


def escaped(value: object, convert: Callable[..., Any] | None = None) -> bytes:
    """`value`, in which text has a lone surrogate: JSON has an escape for it, UTF-8 has nothing
    (RFC 8259 section 8.2). `convert`: msgspec's `to_builtins`."""
    import json

    if convert is not None:
        value = convert(value, enc_hook=json_form, str_keys=True)
    return json.dumps(value, default=json_form, separators=(",", ":")).encode()


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
            lambda value: json.dumps(
                value, default=json_form, ensure_ascii=False, separators=(",", ":")
            ).encode(),
            json.loads,
        )
    else:
        encode = msgspec.json.Encoder(enc_hook=json_form).encode
        _codec = (preferring_orjson(encode), msgspec.json.Decoder().decode)
    return _codec


def dumps(value: object) -> bytes:
    """`value` as compact UTF-8 JSON. Raises `TypeError` for a type that has no JSON form."""
    try:
        return (_codec or _load())[0](value)
    except UnicodeEncodeError:
        return escaped(value, _to_builtins())


def _to_builtins() -> Callable[..., Any] | None:
    try:
        from msgspec import to_builtins
    except ImportError:
        return None
    return to_builtins


def decoder() -> Callable[[bytes], Any]:
    """The codec's own decoder, without a frame around it; it raises an exception of its own for
    what is not JSON."""
    return (_codec or _load())[1]


def loads(data: bytes) -> Any:
    """The value of a JSON document. Raises `ValueError` if it is not valid JSON."""
    try:
        return (_codec or _load())[1](data)
    except ValueError:
        raise
    except Exception as error:
        # msgspec's own error is no ValueError.
        raise ValueError(str(error)) from error
