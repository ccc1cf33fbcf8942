"""Generates the lines that read and validate the values of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ember.binding.parameters import REQUIRED, Argument, Parameter
from ember.binding.values import Body, Fields, File, Members, Scalar
from ember.protocol.message.values import SMALL

#: The expression that has the values of a source.
_HOLDERS = {
    "query": "request.args",
    "header": "request.headers",
    "cookie": "request.cookies",
    "form": "await request.form()",
    "file": "await request.form()",
}
FORM = ("form", "file")
#: Annotations for which text, or a list of texts, is already the value.
_PLAIN = (str, Any, list, list[str])


class Writer:
    """Lines of Python and the constants that they use. `path`: the type of each path parameter as
    the router converts it, in the order of the path."""

    def __init__(self, path: Mapping[str, Any], parameters: tuple[Parameter, ...]) -> None:
        self.parameters = parameters
        self._path = list(path)
        self._path_types = path
        self._body = [p for p in parameters if p.source == "body"]
        self._lines: list[str] = []
        self._constants: list[Any] = []
        self._names: dict[int, str] = {}
        self._holders: dict[str, str] = {}
        self._variables = 0
        self._indent = 1

    def _constant(self, value: Any) -> str:
        name = self._names.get(id(value))
        if name is None:
            name = f"c{len(self._constants)}"
            self._names[id(value)] = name
            self._constants.append(value)
        return name

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables - 1}"

    def _write(self, *lines: str) -> None:
        self._lines.extend("    " * self._indent + line for line in lines)

    def _holder(self, source: str) -> str:
        name = self._holders.get(_HOLDERS[source])
        if name is None:
            name = f"h{len(self._holders)}"
            self._holders[_HOLDERS[source]] = name
            self._write(f"{name} = {_HOLDERS[source]}")
        return name

    # -- the whole ----------------------------------------------------------------------------

    def _read_parameters(self, arguments: list[Argument], done: dict[int, str]) -> None:
        """Read the values of a function's own parameters, except the body."""
        for argument in arguments:
            parameter = argument.source
            if isinstance(parameter, Parameter) and parameter.source != "body":
                done[id(parameter)] = self._read(parameter)

    def _is_plain_path(self, parameter: Parameter) -> bool:
        """Whether the handler gets the value of the router unchanged."""
        if parameter.source != "path":
            return False
        given = self._path_types[self._path_name(parameter)]
        if parameter.codec.annotation is not parameter.type:
            return False
        # A converter of the application has the type Any; its values are not checked.
        return parameter.type is Any or given is Any or parameter.type is given

    def _reader(self, parameter: Parameter) -> Fields | File:
        if not parameter.fields:
            return File(parameter)
        shared = {"form": ("form", "file")}.get(parameter.source, (parameter.source,))
        alone = sum(p.source in shared for p in self.parameters) == 1
        return Fields(parameter, alone and parameter.source in ("query", "form"))

    def _path_name(self, parameter: Parameter) -> str:
        return parameter.name if parameter.name in self._path else parameter.alias

    def _read(self, parameter: Parameter) -> str:
        name = self._variable()
        if parameter.source == "path":
            index = self._path.index(self._path_name(parameter))
            if self._is_plain_path(parameter):
                self._write(f"{name} = values[{index}]")
                return name
            text = f"values[{index}]"
            self._parse(parameter, name, text, self._path_types[self._path_name(parameter)] is str)
            return name
        holder = self._holder(parameter.source)
        if parameter.fields or parameter.source == "file":
            reader = self._constant(self._reader(parameter).read)
            waits = "await " if parameter.source == "file" else ""
            self._write(f"{name}, errors = {waits}{reader}({holder}, errors)")
            return name
        get = "get_all" if parameter.many else "get"
        text = f"t{name[1:]}"
        self._write(f"{text} = {holder}.{get}({self._constant(parameter.alias)})")
        if get == "get_all":
            empty = f"not {text}"
        elif parameter.source == "form" and parameter.type is not str:
            # A form sends its empty fields too.
            empty = f"{text} is None or {text} == ''"
        else:
            empty = f"{text} is None"
        self._write(f"if {empty}:")
        if parameter.required:
            self._write(
                f"    errors = missing(errors, {self._constant(parameter.loc)})",
                f"    {name} = None",
            )
        else:
            self._write(f"    {name} = {self._default(parameter)}")
        if parameter.source == "form":
            given = f"any(type(item) is not str for item in {text})"
            loc = self._constant(parameter.loc)
            self._write(
                f"elif {given if parameter.many else f'type({text}) is not str'}:",
                f"    errors = not_text(errors, {loc})",
                f"    {name} = None",
            )
        self._write("else:")
        self._indent += 1
        self._parse(parameter, name, text, True)
        self._indent -= 1
        return name

    def _default(self, parameter: Parameter) -> str:
        if parameter.default_factory is not None:
            return f"{self._constant(parameter.default_factory)}()"
        default = parameter.default
        assert default is not REQUIRED
        if default is None or type(default) in (bool, int):
            return repr(default)
        # A mutable default is copied: a change must not be seen by the next request.
        copied = ".copy()" if type(default) in (list, dict, set) else ""
        return f"{self._constant(default)}{copied}"

    def _parse(self, parameter: Parameter, name: str, text: str, is_text: bool) -> None:
        codec = parameter.codec
        if is_text and codec.annotation in _PLAIN:
            self._write(f"{name} = {text}")
            return
        if is_text and parameter.type is bytes and codec.annotation is bytes:
            self._write(f"{name} = {text}.encode()")
            return
        scalar = Scalar(parameter)
        parse = scalar.parse if is_text else codec.convert
        errors = self._constant(scalar.errors)
        self._write("try:", f"    {name} = {self._constant(parse)}({text})")
        if is_text and scalar.bounds:
            holds = " and ".join(
                f"{name} {operator} {self._constant(bound)}" for operator, bound in scalar.bounds
            )
            # The codec raises the error with the right message.
            self._write(
                f"    if not ({holds}):", f"        {self._constant(codec.convert)}({text})"
            )
        self._write(
            f"except {errors} as error:",
            f"    errors = {self._constant(scalar.wrong)}(errors, error, {text})",
            f"    {name} = None",
        )

    def _read_body(self, done: dict[int, str]) -> None:
        body = self._body
        if not body:
            return
        first = body[0]
        if len({p.alias for p in body}) > 1 or first.embed:
            members = list({p.alias: p for p in body}.values())
            names = {p.alias: self._variable() for p in members}
            for parameter in body:
                done[id(parameter)] = names[parameter.alias]
            read = self._constant(Members(members).read)
            targets = ", ".join(names.values())
            self._write(f"({targets},), errors = await {read}(request, errors)")
            return
        name = self._variable()
        for parameter in body:
            done[id(parameter)] = name
        if first.type is bytes:
            self._write(f"{name} = await request.body()")
            if first.required:
                self._write(
                    f"if not {name}:",
                    f"    errors = missing(errors, {self._constant(first.loc)})",
                )
            else:
                self._write(f"if not {name}:", f"    {name} = {self._default(first)}")
            return
        reader = Body(first)
        if first.media_type not in (None, "application/json"):
            self._write(f"{name}, errors = await {self._constant(reader.read)}(request, errors)")
            return
        self._write(
            "if request.content_type == 'application/json':",
            "    data = await request.body()",
            "    try:",
            f"        if len(data) > {SMALL}:",
            f"            {name} = {self._constant(reader.decode_large)}(request, data)",
            "        else:",
            f"            {name} = {self._constant(first.codec.decode)}(data)",
            f"    except {self._constant(first.codec.errors)} as error:",
            f"        {name}, errors = {self._constant(reader.wrong)}(errors, error, data)",
            "else:",
            f"    {name}, errors = await {self._constant(reader.read)}(request, errors)",
        )
