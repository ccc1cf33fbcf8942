"""Values to bytes and back, for the stores outside this process."""

from __future__ import annotations

import importlib.util
import json
from typing import Any, Protocol, cast

__all__ = ["BytesSerializer", "JSONSerializer", "MsgpackSerializer", "Serializer", "default"]


class Serializer(Protocol):
    """`name` is kept beside each value: one written by another serializer counts as missing."""

    @property
    def name(self) -> str: ...
    def dumps(self, value: Any) -> bytes:
        """Raises for what it cannot write; such a value is given to the caller and not stored."""

    def loads(self, data: bytes) -> Any: ...


class JSONSerializer:
    """The standard library's JSON: str, int, float, bool, None, list, dict with str keys."""

    name = "json"

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class MsgpackSerializer:
    """MessagePack by msgspec: adds bytes, datetime, UUID, and whatever `type` describes."""

    def __init__(self, type: Any = Any) -> None:
        import msgspec.msgpack

        self.name = "msgpack" if type is Any else f"msgpack:{type!r}"[:255]
        self.dumps = msgspec.msgpack.Encoder().encode
        self.loads = msgspec.msgpack.Decoder(type).decode


class BytesSerializer:
    """For values that are bytes already, as encoded responses are."""

    name = "bytes"

    def dumps(self, value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise TypeError(f"bytes expected, not {type(value).__name__}")
        return value

    def loads(self, data: bytes) -> bytes:
        return data


def default() -> Serializer:
    """MessagePack where msgspec is installed, else JSON."""
    if importlib.util.find_spec("msgspec") is not None:
        return cast(Serializer, MsgpackSerializer())
    return JSONSerializer()
