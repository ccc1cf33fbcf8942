"""Readers for values that need more than one conversion: data classes, bodies and files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ember.binding.errors import missing, wrong
from ember.binding.markers import Marker
from ember.binding.parameters import Parameter
from ember.binding.scalars import PARSERS, parse_bool_or
from ember.exceptions import UnsupportedMediaType
from ember.protocol.message.values import check_values, undisturbed
from ember.request import Request
from ember.schema import Codec, FieldError
from ember.schema.annotations import bare, fields_of, is_json_text, is_sequence, is_upload

FieldErrors = list[FieldError] | None

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
OPERATORS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
MSGPACK_TYPES = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")


class Scalar:
    """One value from text: its parser, and the error of a failure."""

    __slots__ = ("_codec", "_slug", "bounds", "errors", "loc", "parse")

    def __init__(self, parameter: Parameter) -> None:
        self.loc = parameter.loc
        self._codec = parameter.codec
        self._slug = ""
        self.parse: Callable[[Any], Any] = self._codec.convert
        self.errors = self._codec.errors
        #: The comparisons in the generated code, as (operator, number).
        self.bounds: list[tuple[str, Any]] = []
        parser = PARSERS.get(parameter.type)
        if parser is None:
            return
        constraints = parameter.constraints
        marked = constraints and constraints.keys() <= OPERATORS.keys()
        plain = not any(not isinstance(m, Marker) for m in bare(parameter.annotation).metadata)
        if self._codec.annotation is parameter.type or (marked and plain):
            self.parse, self._slug = parser
            self.errors = (ValueError, *self._codec.errors)
            self.bounds = [(OPERATORS[name], bound) for name, bound in constraints.items()]

    def wrong(self, errors: FieldErrors, error: Exception, text: Any) -> list[FieldError]:
        """`errors` with the error for `text`."""
        if self._slug and not isinstance(error, self._codec.errors):
            field_error = {"loc": self.loc, "msg": str(error), "type": self._slug}
            return [field_error] if errors is None else [*errors, field_error]
        return wrong(errors, self._codec, error, text, self.loc)


class Fields:
    """Reads a data class whose fields are names in the query, header fields, cookies or a form."""

    __slots__ = ("_codec", "_fields", "_known", "_loc", "_parameter", "_whole")

    def __init__(self, parameter: Parameter, whole: bool = False) -> None:
        self._parameter = parameter
        #: Whether this is the only reader of the source. Then the model gets unknown names too.
        self._whole = whole
        self._codec = parameter.codec
        self._loc = parameter.loc if parameter.source != "form" else ["body"]
        #: (name in the model, name in the request, kind, required, number of the field)
        self._fields = [
            (
                name,
                _wire_name(name, parameter.source),
                "many" if several else kind,
                field.required and len(field.names) == 1,
                number,
            )
            for number, (field, kind) in enumerate(_field_kinds(parameter.type))
            for name, several in field.names
        ]
        self._known = {wire for _, wire, _, _, _ in self._fields}

    def read(self, values: Any, errors: FieldErrors) -> tuple[Any, FieldErrors]:
        """Read the value from a multi-map or dict. Returns (value, errors)."""
        data: dict[str, Any] = {}
        get_all = getattr(values, "get_all", None)
        form = self._parameter.source == "form"
        passed = empty = 0
        found = -1
        for name, wire, kind, required, number in self._fields:
            if number == found:
                passed += wire in values  # another name of a field that was found already
                continue
            if kind in ("many", "files") and get_all is not None:
                items = get_all(wire)
                if kind == "files":
                    passed += len(items) > 0
                    items = chosen(items)
                    passed -= len(items) > 0
                if items or required:
                    data[name] = items
                    empty += not items
                    found = number
                continue
            text = values.get(wire)
            if text is None or (text == "" and form and kind != "str"):
                continue
            if kind == "file" and not chosen([text]):
                passed += 1
                continue
            found = number
            if kind == "nullable" and isinstance(text, str) and text.lower() == "null":
                text = ""  # in text, null is written by leaving the name away
            if kind == "bool" and isinstance(text, str):
                # Other text is unchanged: the codec reports the error.
                text = parse_bool_or(text)
            data[name] = text
        if not data and not self._parameter.required:
            return _default(self._parameter), errors
        # If there are as many names as were found, none is unknown: this is the usual case.
        if self._whole and len(values) > len(data) - empty + passed:
            data.update((name, values[name]) for name in values if name not in self._known)
        try:
            return self._codec.convert(data), errors
        except self._codec.errors as error:
            return None, wrong(errors, self._codec, error, data, self._loc)


def _wire_name(alias: str, source: str) -> str:
    return alias.replace("_", "-") if source == "header" else alias


def _field_kinds(annotation: Any) -> list[tuple[Any, str]]:
    result = []
    for field in fields_of(annotation):
        inner = bare(field.type).type
        kind = {bool: "bool", str: "str"}.get(inner, "other")
        if kind == "other" and bare(field.type).optional:
            kind = "nullable"
        if is_upload(inner):
            kind = "files" if is_sequence(inner) else "file"
        elif is_sequence(inner) and not is_json_text(bare(field.type).metadata):
            kind = "many"
        result.append((field, kind))
    return result


def chosen(values: list[Any]) -> list[Any]:
    """The files that were sent, without empty entries.

    A browser sends a file without name and content for an input that was not used (WHATWG HTML,
    "constructing the entry list"); other clients send an empty text."""
    return [value for value in values if value != "" and not _is_unused(value)]


def _is_unused(value: Any) -> bool:
    return getattr(value, "filename", None) == "" and not value.size


def _default(parameter: Parameter) -> Any:
    if parameter.default_factory is not None:
        return parameter.default_factory()
    default = parameter.default
    # A mutable default is copied: a change must not be seen by the next request.
    return default.copy() if type(default) in (list, dict, set) else default


class Body:
    """Reads the body as one value: JSON, a form or MessagePack, by its content type."""

    __slots__ = ("_codec", "_form", "_loc", "_only", "_parameter")

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._only = parameter.media_type
        self._codec = parameter.codec
        self._loc = parameter.loc
        self._form = Fields(_as_form(parameter), True) if fields_of(parameter.type) else None

    async def read(self, request: Request, errors: FieldErrors) -> tuple[Any, FieldErrors]:
        """Returns (value, errors). Raises BadRequest, UnsupportedMediaType."""
        kind = request.content_type
        if self._only is not None and kind and kind != self._only:
            raise UnsupportedMediaType(f'this route takes {self._only}, not "{kind}"')
        if kind in FORM_TYPES and self._form is not None:
            return self._form.read(await request.form(), errors)
        if not kind:
            return await self._without_type(request, errors)
        form = "msgpack" if kind in MSGPACK_TYPES else "json"
        if form == "json" and not is_json(kind):
            raise _unsupported(kind, self._form is not None)
        data = await request.body()
        try:
            return self.decode_large(request, data, form), errors
        except self._codec.errors as error:
            return self.wrong(errors, error, data, form)

    def decode_large(self, request: Request, data: bytes, form: str = "json") -> Any:
        """The value of a body of any size. Raises PayloadTooLarge if it has more values than the
        route allows, and the errors of the codec."""
        check_values(data, request.limits.max_values, form)
        codec = self._codec
        return undisturbed(codec.decode_msgpack if form == "msgpack" else codec.decode, data)

    async def _without_type(self, request: Request, errors: FieldErrors) -> tuple[Any, FieldErrors]:
        # The type of a body without Content-Type is not guessed: browsers send such a body to other
        # sites without asking them first (no CORS preflight).
        if await request.body():
            raise _unsupported("", self._form is not None)
        if self._parameter.required:
            return None, missing(errors, self._loc)
        return _default(self._parameter), errors

    def wrong(
        self, errors: FieldErrors, error: Exception, data: bytes, form: str = "json"
    ) -> tuple[Any, FieldErrors]:
        """Returns (default or None, errors) for a body that the codec refused."""
        if not data:
            if not self._parameter.required:
                return _default(self._parameter), errors
            return None, missing(errors, self._loc)
        return undisturbed(self._look_again, errors, error, data, form)

    def _look_again(
        self, errors: FieldErrors, error: Exception, data: bytes, form: str
    ) -> tuple[Any, FieldErrors]:
        if form == "json":
            try:
                return self._codec.decode_again(data, error), errors
            except self._codec.errors as still:
                error = still
        found = self._codec.field_errors(error, data, self._loc, form)
        return None, found if errors is None else [*errors, *found]


class Members:
    """Reads several body parameters: each is a member of one object."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: list[Parameter]) -> None:
        self._parameters = parameters

    async def read(self, request: Request, errors: FieldErrors) -> tuple[list[Any], FieldErrors]:
        """Returns (values in order, errors). Raises BadRequest, UnsupportedMediaType."""
        kind = request.content_type
        data = b""
        form = "msgpack" if kind in MSGPACK_TYPES else "json"
        if form == "json" and kind and not is_json(kind):
            raise _unsupported(kind, False)
        data = await request.body()
        if data and not kind:
            raise _unsupported("", False)
        check_values(data, request.limits.max_values, form)
        return undisturbed(self._read, data, form, errors)

    def _read(self, data: bytes, form: str, errors: FieldErrors) -> tuple[list[Any], FieldErrors]:
        import msgspec

        members: dict[str, Any] = {}
        if data:
            try:
                if form == "json":
                    members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
                else:
                    members = msgspec.msgpack.decode(data, type=dict[str, msgspec.Raw])
            except msgspec.ValidationError:
                field_error = {"loc": ["body"], "msg": "expected an object", "type": "dict_type"}
                return [None] * len(self._parameters), [*(errors or []), field_error]
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                from ember.schema.codec import malformed

                raise malformed(form, error) from None
        values = []
        for parameter in self._parameters:
            value, errors = self._member(parameter, members.get(parameter.alias), form, errors)
            values.append(value)
        return values, errors

    def _member(
        self, parameter: Parameter, raw: Any, form: str, errors: FieldErrors
    ) -> tuple[Any, FieldErrors]:
        loc = ["body", parameter.alias]
        if raw is None:
            if parameter.required:
                return None, missing(errors, loc)
            return _default(parameter), errors
        codec: Codec = parameter.codec
        data = bytes(raw)
        try:
            return (codec.decode(data) if form == "json" else codec.decode_msgpack(data)), errors
        except codec.errors as error:
            if form == "json":
                try:
                    return codec.decode_again(data, error), errors
                except codec.errors as still:
                    error = still
            return None, [*(errors or []), *codec.field_errors(error, data, loc, form)]


class File:
    """Reads a file of a form: the upload itself, or its bytes."""

    __slots__ = ("_parameter",)

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter

    async def read(self, form: Any, errors: FieldErrors) -> tuple[Any, FieldErrors]:
        """Returns (upload or list of uploads, errors)."""
        parameter = self._parameter
        uploads = chosen(form.get_all(parameter.alias))
        if not uploads:
            if parameter.required:
                return None, missing(errors, parameter.loc)
            return _default(parameter), errors
        if not all(hasattr(upload, "filename") for upload in uploads):
            field_error = {"loc": parameter.loc, "msg": "expected a file", "type": "file_type"}
            return None, [*(errors or []), field_error]
        if not parameter.many:
            uploads = uploads[:1]
        if parameter.type is bytes or parameter.type == list[bytes]:
            uploads = [await upload.read() for upload in uploads]
        return (uploads if parameter.many else uploads[0]), errors


def is_json(kind: str) -> bool:
    """Whether a media type is JSON (RFC 6839 section 3.1)."""
    return kind == "application/json" or (kind.endswith("+json") and "/" in kind)


def _unsupported(kind: str, form: bool) -> UnsupportedMediaType:
    also = ", application/x-www-form-urlencoded" if form else ""
    got = f'"{kind}"' if kind else "a body without Content-Type"
    return UnsupportedMediaType(
        f"this route takes application/json{also} or application/msgpack, not {got}"
    )


def _as_form(parameter: Parameter) -> Parameter:
    """A copy of `parameter` that reads the fields of a form."""
    copy = Parameter.__new__(Parameter)
    for name in Parameter.__slots__:
        setattr(copy, name, getattr(parameter, name))
    copy.source, copy.fields = "form", True
    return copy
