"""What a handler returned, as a Response.

dict, list, number, bool, msgspec Struct, dataclass, attrs class, pydantic model -> JSON; str ->
text/plain; bytes -> application/octet-stream; None -> 204; (body, status) and (body, status,
headers); an async generator -> streamed; a Response as it is. Anything else is an error that names
the type.
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
#: orjson, where it is installed, for what is plain.
_plain: Any = None
_options: Any = 0


class UnsupportedReturn(TypeError):
    """A handler returned something that has no response; the message names handler and type."""


def encode_json(value: object) -> bytes:
    """`value` as JSON. Raises TypeError for what has no JSON form."""
    if _encode is None:
        _load()
    if _plain is not None and (type(value) is dict or type(value) is list):
        try:
            written: bytes = _plain(value, None, _options)
            return written
        except TypeError:
            pass  # something in it is not plain: the whole is msgspec's
    try:
        result: bytes = _encode(value)
    except UnicodeEncodeError:
        from msgspec import to_builtins

        result = escaped(value, to_builtins)
    return result


def _load() -> None:
    # At first use, because msgspec costs 8 MB of memory and not every application answers JSON.
    global _encode, _plain, _options
    import msgspec

    _plain, _options = plain_encoder() or (None, 0)
    _encode = msgspec.json.Encoder(enc_hook=json_form).encode


def _type_name(value: object) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def is_data(value: object) -> bool:
    """Whether a class of somebody's holds data that goes out as JSON."""
    cls = type(value)
    return (
        hasattr(cls, "__struct_fields__")
        or hasattr(cls, "__dataclass_fields__")
        or hasattr(cls, "__attrs_attrs__")
    )


def convert(value: Any, status: int = 0, owner: str = "the handler") -> Response:
    """The Response for what a handler returned.

    `status`: what the route declared, 0 when it did not. A Response, or a tuple with a status, has
    its own. Raises UnsupportedReturn, which names `owner`.
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
    # Looked up in the class itself: asking a model for what it has not takes a microsecond.
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
    """A pydantic model as JSON."""
    cls = type(model)
    if cls.model_dump_json.__module__ == "pydantic.main":
        # What pydantic's own method calls in the end, without the detour through a str.
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
        # What only says that it has no form is in the message; a failure of a class's own method
        # has a traceback of its own to show.
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
