"""Readers for what is more than one conversion: data classes from names, and bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ember.binding.faults import missing, wrong
from ember.binding.markers import Marker
from ember.binding.parameters import Parameter
from ember.binding.scalars import PARSERS, parse_bool_or
from ember.exceptions import UnsupportedMediaType
from ember.protocol.message.values import check_values, undisturbed
from ember.request import Request
from ember.schema import Codec, Fault
from ember.schema.annotations import bare, fields_of, is_json_text, is_sequence, is_upload

Faults = list[Fault] | None

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
OPERATORS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
MSGPACK_TYPES = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")


class Scalar:
    """One value from text: the parser, and what a failure means."""

    __slots__ = ("_codec", "_slug", "bounds", "errors", "loc", "parse")

    def __init__(self, parameter: Parameter) -> None:
        self.loc = parameter.loc
        self._codec = parameter.codec
        self._slug = ""
        self.parse: Callable[[Any], Any] = self._codec.convert
        self.errors = self._codec.errors
        #: comparisons that the generated code makes itself, as (operator, number)
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

    def wrong(self, faults: Faults, error: Exception, text: Any) -> list[Fault]:
        """`faults` and what is wrong with `text`."""
        if self._slug and not isinstance(error, self._codec.errors):
            fault = {"loc": self.loc, "msg": str(error), "type": self._slug}
            return [fault] if faults is None else [*faults, fault]
        return wrong(faults, self._codec, error, text, self.loc)


class Fields:
    """A data class whose fields are names of a query, header, cookie or form."""

    __slots__ = ("_codec", "_fields", "_known", "_loc", "_parameter", "_whole")

    def __init__(self, parameter: Parameter, whole: bool = False) -> None:
        self._parameter = parameter
        #: Whether nobody else reads names of it, so that the model sees those it does not have.
        self._whole = whole
        self._codec = parameter.codec
        self._loc = parameter.loc if parameter.source != "form" else ["body"]
        #: (name in the model, name on the wire, what it is, whether it must be there, which field)
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

    def read(self, values: Any, faults: Faults) -> tuple[Any, Faults]:
        """(the value, faults) of a multi-map or dict of names."""
        data: dict[str, Any] = {}
        get_all = getattr(values, "get_all", None)
        form = self._parameter.source == "form"
        passed = empty = 0
        found = -1
        for name, wire, kind, required, number in self._fields:
            if number == found:
                passed += wire in values  # another name of a field that is there
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
                text = ""  # text is never null: left away is
            if kind == "bool" and isinstance(text, str):
                # One that is none stays as it is: the codec says what is wrong with it.
                text = parse_bool_or(text)
            data[name] = text
        if not data and not self._parameter.required:
            return _default(self._parameter), faults
        # As many as were found: nothing else is there, and so it mostly is.
        if self._whole and len(values) > len(data) - empty + passed:
            data.update((name, values[name]) for name in values if name not in self._known)
        try:
            return self._codec.convert(data), faults
        except self._codec.errors as error:
            return None, wrong(faults, self._codec, error, data, self._loc)


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
    """What was sent for files, without what stands for none: a browser's input of which nobody made
    use has no name and no content (WHATWG HTML, "constructing the entry list"), and other clients
    send an empty text."""
    return [value for value in values if value != "" and not _is_unused(value)]


def _is_unused(value: Any) -> bool:
    return getattr(value, "filename", None) == "" and not value.size


def _default(parameter: Parameter) -> Any:
    if parameter.default_factory is not None:
        return parameter.default_factory()
    default = parameter.default
    # A default that can be changed must not carry over from one request to the next.
    return default.copy() if type(default) in (list, dict, set) else default


class Body:
    """The body as one value: JSON, a form or MessagePack, as its content type says."""

    __slots__ = ("_codec", "_form", "_loc", "_only", "_parameter")

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._only = parameter.media_type
        self._codec = parameter.codec
        self._loc = parameter.loc
        self._form = Fields(_as_form(parameter), True) if fields_of(parameter.type) else None

    async def read(self, request: Request, faults: Faults) -> tuple[Any, Faults]:
        """(the value, faults). Raises BadRequest, UnsupportedMediaType."""
        kind = request.content_type
        if self._only is not None and kind and kind != self._only:
            raise UnsupportedMediaType(f'this route takes {self._only}, not "{kind}"')
        if kind in FORM_TYPES and self._form is not None:
            return self._form.read(await request.form(), faults)
        if not kind:
            return await self._without_type(request, faults)
        form = "msgpack" if kind in MSGPACK_TYPES else "json"
        if form == "json" and not is_json(kind):
            raise _unsupported(kind, self._form is not None)
        data = await request.body()
        try:
            return self.decode_large(request, data, form), faults
        except self._codec.errors as error:
            return self.wrong(faults, error, data, form)

    def decode_large(self, request: Request, data: bytes, form: str = "json") -> Any:
        """The value of a body of any size. Raises PayloadTooLarge when it has more values than the
        route allows, and what the codec raises."""
        check_values(data, request.limits.max_values, form)
        codec = self._codec
        return undisturbed(codec.decode_msgpack if form == "msgpack" else codec.decode, data)

    async def _without_type(self, request: Request, faults: Faults) -> tuple[Any, Faults]:
        # A body without a type is not guessed at: browsers send one across sites without asking
        # first.
        if await request.body():
            raise _unsupported("", self._form is not None)
        if self._parameter.required:
            return None, missing(faults, self._loc)
        return _default(self._parameter), faults

    def wrong(
        self, faults: Faults, error: Exception, data: bytes, form: str = "json"
    ) -> tuple[Any, Faults]:
        """(the default or None, faults) for a body that the codec did not take."""
        if not data:
            if not self._parameter.required:
                return _default(self._parameter), faults
            return None, missing(faults, self._loc)
        return undisturbed(self._look_again, faults, error, data, form)

    def _look_again(
        self, faults: Faults, error: Exception, data: bytes, form: str
    ) -> tuple[Any, Faults]:
        if form == "json":
            try:
                return self._codec.decode_again(data, error), faults
            except self._codec.errors as still:
                error = still
        found = self._codec.faults(error, data, self._loc, form)
        return None, found if faults is None else [*faults, *found]


class Members:
    """Several body parameters: each is a member of one object."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: list[Parameter]) -> None:
        self._parameters = parameters

    async def read(self, request: Request, faults: Faults) -> tuple[list[Any], Faults]:
        """(the values in order, faults). Raises BadRequest, UnsupportedMediaType."""
        kind = request.content_type
        data = b""
        form = "msgpack" if kind in MSGPACK_TYPES else "json"
        if form == "json" and kind and not is_json(kind):
            raise _unsupported(kind, False)
        data = await request.body()
        if data and not kind:
            raise _unsupported("", False)
        check_values(data, request.limits.max_values, form)
        return undisturbed(self._read, data, form, faults)

    def _read(self, data: bytes, form: str, faults: Faults) -> tuple[list[Any], Faults]:
        import msgspec

        members: dict[str, Any] = {}
        if data:
            try:
                if form == "json":
                    members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
                else:
                    members = msgspec.msgpack.decode(data, type=dict[str, msgspec.Raw])
            except msgspec.ValidationError:
                fault = {"loc": ["body"], "msg": "expected an object", "type": "dict_type"}
                return [None] * len(self._parameters), [*(faults or []), fault]
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                from ember.schema.codec import malformed

                raise malformed(form, error) from None
        values = []
        for parameter in self._parameters:
            value, faults = self._member(parameter, members.get(parameter.alias), form, faults)
            values.append(value)
        return values, faults

    def _member(
        self, parameter: Parameter, raw: Any, form: str, faults: Faults
    ) -> tuple[Any, Faults]:
        loc = ["body", parameter.alias]
        if raw is None:
            if parameter.required:
                return None, missing(faults, loc)
            return _default(parameter), faults
        codec: Codec = parameter.codec
        data = bytes(raw)
        try:
            return (codec.decode(data) if form == "json" else codec.decode_msgpack(data)), faults
        except codec.errors as error:
            if form == "json":
                try:
                    return codec.decode_again(data, error), faults
                except codec.errors as still:
                    error = still
            return None, [*(faults or []), *codec.faults(error, data, loc, form)]


class File:
    """A file of a form: the upload itself, or its bytes."""

    __slots__ = ("_parameter",)

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter

    async def read(self, form: Any, faults: Faults) -> tuple[Any, Faults]:
        """(the upload or uploads, faults)."""
        parameter = self._parameter
        uploads = chosen(form.get_all(parameter.alias))
        if not uploads:
            if parameter.required:
                return None, missing(faults, parameter.loc)
            return _default(parameter), faults
        if not all(hasattr(upload, "filename") for upload in uploads):
            fault = {"loc": parameter.loc, "msg": "expected a file", "type": "file_type"}
            return None, [*(faults or []), fault]
        if not parameter.many:
            uploads = uploads[:1]
        if parameter.type is bytes or parameter.type == list[bytes]:
            uploads = [await upload.read() for upload in uploads]
        return (uploads if parameter.many else uploads[0]), faults


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
    """The same parameter as fields of a form."""
    copy = Parameter.__new__(Parameter)
    for name in Parameter.__slots__:
        setattr(copy, name, getattr(parameter, name))
    copy.source, copy.fields = "form", True
    return copy
