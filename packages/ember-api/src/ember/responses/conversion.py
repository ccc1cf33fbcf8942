"""Converts the return value of a handler to a Response.

dict, list, number, bool, msgspec Struct, dataclass, attrs class, pydantic model -> JSON; str ->
text/plain; bytes -> application/octet-stream; None -> 204; (body, status) and (body, status,
headers); an async generator -> a stream; a Response is unchanged. Any other type is an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ember._json import NoJSONForm, escaped, json_form, plain_encoder
from ember.constants import is_number
from ember.response import Response, StreamingResponse

_JSON = "application/json"
_encode: Any = None
#: orjson, if it is installed, for plain dicts and lists.
_plain: Any = None
_options: Any = 0


class UnsupportedReturn(TypeError):
    """A handler returned a value that cannot become a response. The message names both."""


def encode_json(value: object) -> bytes:
    """Encode `value` as JSON. Raises TypeError if it has no JSON form."""
    if _encode is None:
        _load()
    if _plain is not None and (type(value) is dict or type(value) is list):
        try:
            written: bytes = _plain(value, None, _options)
            return written
        except TypeError:
            pass  # it contains a value that is not plain: msgspec encodes it
    try:
        result: bytes = _encode(value)
    except UnicodeEncodeError:
        from msgspec import to_builtins

        result = escaped(value, to_builtins)
    return result


def _load() -> None:
    # At first use: msgspec takes 8 MB of memory, and not every application sends JSON.
    global _encode, _plain, _options
    import msgspec

    _plain, _options = plain_encoder() or (None, 0)
    _encode = msgspec.json.Encoder(enc_hook=json_form).encode


def _type_name(value: object) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def is_data(value: object) -> bool:
    """Whether it is an object of a data class, which is sent as JSON."""
    cls = type(value)
    return (
        hasattr(cls, "__struct_fields__")
        or hasattr(cls, "__dataclass_fields__")
        or hasattr(cls, "__attrs_attrs__")
    )


def convert(value: Any, status: int = 0, owner: str = "the handler") -> Response:
    """The response for the return value of a handler.

    `status`: the status of the route; 0: none. A Response, or a tuple with a status, has its own
    status. Raises UnsupportedReturn, whose message names `owner`.
    """
    cls = type(value)
    if cls is dict or cls is list:
        return Response.trusted(_json(value, owner), status or 200, _JSON)
    if cls is str and not status:
        return Response(value)
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(b"", status or 204)
    if isinstance(value, str):
        return Response(str(value), status or 200, None, "text/plain; charset=utf-8")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Response(value, status or 200, None, "application/octet-stream")
    if isinstance(value, (dict, list, bool, int, float)):
        return Response.trusted(_json(value, owner), status or 200, _JSON)
    # Looked up in the dict of the class: a missing attribute of a model takes a microsecond.
    if "__pydantic_serializer__" in cls.__dict__ and hasattr(cls, "model_dump_json"):
        return Response.trusted(_model_json(value), status or 200, _JSON)
    if is_data(value):
        return Response.trusted(_json(value, owner), status or 200, _JSON)
    if isinstance(value, tuple):
        return _from_tuple(value, owner)
    if isinstance(value, (deque, Mapping)):
        return Response.trusted(_json(value, owner), status or 200, _JSON)
    if hasattr(cls, "model_dump_json"):
        return Response.trusted(_model_json(value), status or 200, _JSON)
    if hasattr(cls, "__anext__"):
        return StreamingResponse(value, status or 200)
    raise UnsupportedReturn(_explain(value, owner))


def _model_json(model: Any) -> bytes:
    """Encode a pydantic model as JSON."""
    cls = type(model)
    if cls.model_dump_json.__module__ == "pydantic.main":
        # The same as pydantic's own method, without a str in between.
        result: bytes = cls.__pydantic_serializer__.to_json(model)
        return result
    text: str = model.model_dump_json()
    return text.encode()


def _from_tuple(value: tuple[Any, ...], owner: str) -> Response:
    count = len(value)
    if count not in (2, 3) or not is_number(value[1]) or not 200 <= value[1] <= 599:
        raise UnsupportedReturn(
            f"{owner} returned a tuple of {count}: {_shape(value)}; "
            f"expected (body, status) or (body, status, headers)"
        )
    body, status = value[0], int(value[1])
    if isinstance(body, tuple):
        raise UnsupportedReturn(f"{owner} returned a tuple inside a tuple; return a list for JSON")
    if isinstance(body, Response):
        response = body.copy()  # the application may return the same object again
        response.status_code = status
    else:
        response = convert(body, status, owner)
    if count == 3:
        headers = value[2]
        pairs = headers.items() if hasattr(headers, "items") else headers
        for name, field in pairs:
            if name.lower() == "content-type":
                response.content_type = field
            else:
                response.headers.add(name, field)
    return response


def _shape(value: tuple[Any, ...]) -> str:
    return "(" + ", ".join(_type_name(item) for item in value) + ")"


def _json(value: Any, owner: str) -> bytes:
    try:
        return encode_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        # The message says that a value has no JSON form. An error in a method of the value has a
        # traceback, which is shown too.
        tells = type(error) is NoJSONForm or error.__traceback__ is None
        raise UnsupportedReturn(
            f"{owner} returned a {_type_name(value)} that has no JSON form: {error}"
        ) from (None if tells else error)


def _explain(value: object, owner: str) -> str:
    hint = "return a dict, list, str, bytes, None, a dataclass, a model or a Response"
    if hasattr(type(value), "__next__"):
        hint = "make it an async generator, or return StreamingResponse(...)"
    elif isinstance(value, (set, frozenset)):
        hint = "return a list"
    elif hasattr(type(value), "__await__"):
        hint = "await it in the handler"
    return f"{owner} returned a value of type {_type_name(value)}, which has no response; {hint}"
