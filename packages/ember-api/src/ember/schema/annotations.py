"""Takes annotations apart: the bare type, the metadata, and the kind of value."""

from __future__ import annotations

import enum
import sys
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

#: Constraints as msgspec.Meta, pydantic and annotated_types spell them.
CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")

_SCALARS = frozenset((str, int, float, bool, bytes))
#: Compared by name, so that these modules need not be imported.
_SCALAR_NAMES = frozenset(
    (
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("uuid", "UUID"),
        ("decimal", "Decimal"),
    )
)
_SEQUENCES = frozenset((list, set, frozenset, tuple))
_ABSTRACT_SEQUENCES = frozenset(("Sequence", "Collection", "MutableSequence", "Set", "Iterable"))


class Kind(enum.Enum):
    """The kind of a value; it decides where the value can come from."""

    SCALAR = "scalar"
    SEQUENCE = "sequence"
    DATA = "data"
    CLASS = "class"
    UNKNOWN = "unknown"


class Bare:
    """The parts of an annotation: `type` is without None and metadata."""

    __slots__ = ("metadata", "optional", "type")

    def __init__(self, type: Any, metadata: tuple[Any, ...], optional: bool) -> None:
        self.type = type
        self.metadata = metadata
        self.optional = optional


def bare(annotation: Any) -> Bare:
    """`annotation` without Annotated, NewType, type aliases and `| None`."""
    metadata: tuple[Any, ...] = ()
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            metadata = (*annotation.__metadata__, *metadata)
            annotation = annotation.__origin__
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif origin is Union or origin is types.UnionType:
            members = [a for a in get_args(annotation) if a is not type(None)]
            if len(members) == len(get_args(annotation)):
                return Bare(annotation, metadata, optional)
            optional = True
            annotation = Union[tuple(members)]  # noqa: UP007 - made from a tuple
        else:
            return Bare(annotation, metadata, optional)


def is_sequence(annotation: Any) -> bool:
    """Whether it is a list, set or tuple of something, as a type or as a generic."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin in _SEQUENCES:
        return True
    return (
        getattr(origin, "__module__", "") == "collections.abc"
        and getattr(origin, "__name__", "") in _ABSTRACT_SEQUENCES
    )


def item_type(annotation: Any) -> Any:
    """The item type of a sequence; str if the annotation has none."""
    args = [a for a in get_args(annotation) if a is not ...]
    if not args:
        return str
    return args[0] if len(args) == 1 else Union[tuple(args)]  # noqa: UP007


def kind_of(annotation: Any) -> Kind:
    """The kind of values of this bare type."""
    if annotation is Any:
        return Kind.SCALAR
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return _kind_of_class(annotation)
    if get_origin(annotation) is Literal:
        return Kind.SCALAR
    if is_sequence(annotation):
        inner = kind_of(bare(item_type(annotation)).type)
        return Kind.SEQUENCE if inner is Kind.SCALAR else Kind.DATA
    origin = get_origin(annotation)
    if origin is Union or origin is types.UnionType:
        kinds = {kind_of(bare(member).type) for member in get_args(annotation)}
        if len(kinds) == 1:
            return kinds.pop()
        return Kind.DATA if kinds <= {Kind.SCALAR, Kind.SEQUENCE, Kind.DATA} else Kind.UNKNOWN
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, dict) or origin.__module__ == "collections.abc":
            return Kind.DATA
        return Kind.DATA if is_data_class(origin) else Kind.CLASS
    return Kind.UNKNOWN


def _kind_of_class(annotation: type) -> Kind:
    if annotation in _SCALARS or (annotation.__module__, annotation.__name__) in _SCALAR_NAMES:
        return Kind.SCALAR
    if issubclass(annotation, enum.Enum):
        return Kind.SCALAR
    if annotation in _SEQUENCES:
        return Kind.SEQUENCE
    if annotation is dict or is_data_class(annotation):
        return Kind.DATA
    if annotation.__module__.partition(".")[0] in ("pydantic", "pydantic_extra_types"):
        return Kind.SCALAR  # EmailStr, HttpUrl, SecretStr ...
    return Kind.CLASS


def is_data_class(annotation: Any) -> bool:
    """Whether it is a data class: Struct, dataclass, attrs class, TypedDict, NamedTuple or
    model."""
    return isinstance(annotation, type) and (
        hasattr(annotation, "__struct_fields__")
        or hasattr(annotation, "__dataclass_fields__")
        or hasattr(annotation, "__attrs_attrs__")
        or is_typed_dict(annotation)
        or (issubclass(annotation, tuple) and hasattr(annotation, "_fields"))
        or is_model(annotation)
    )


def is_typed_dict(annotation: Any) -> bool:
    """Whether it is a TypedDict of typing or, on older Pythons, of typing_extensions."""
    return typing.is_typeddict(annotation) or (
        isinstance(annotation, type)
        and issubclass(annotation, dict)
        and hasattr(annotation, "__required_keys__")
    )


def is_upload(annotation: Any) -> bool:
    """Whether it is `UploadFile` or a list of them."""
    if is_sequence(annotation):
        annotation = item_type(annotation)
    return getattr(annotation, "__module__", "") == "ember.forms.upload"


def is_json_text(metadata: tuple[Any, ...]) -> bool:
    """Whether the value is JSON inside text, as with `pydantic.Json[...]`."""
    return any(
        (item if isinstance(item, type) else type(item)).__name__ == "Json"
        and _of_pydantic(item if isinstance(item, type) else type(item))
        for item in metadata
    )


def is_model(annotation: Any) -> bool:
    """Whether it is a pydantic model. This does not import pydantic."""
    return isinstance(annotation, type) and hasattr(annotation, "__pydantic_validator__")


def decode_hook(type: type, value: Any) -> Any:
    """Decode a pydantic model, or a file of a form, inside a Struct."""
    if is_upload(type):
        if isinstance(value, type):
            return value
        raise ValueError("expected a file")
    if is_model(type):
        return type.model_validate(value)  # type: ignore[attr-defined]
    raise NotImplementedError(f"nothing decodes {type.__name__}")


def needs_pydantic(annotation: Any, _seen: set[int] | None = None) -> bool:
    """Whether only pydantic can validate it: a model, or one of its types, anywhere inside."""
    if "pydantic" not in sys.modules:
        return False
    seen = set() if _seen is None else _seen
    if id(annotation) in seen:
        return False
    seen.add(id(annotation))
    if is_upload(annotation):
        return False  # it works in models, but needs none
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if _of_pydantic(annotation) or hasattr(annotation, "__get_pydantic_core_schema__"):
            return True
        # msgspec validates a Struct; its decoding hook handles a model inside.
        if hasattr(annotation, "__struct_fields__") or not is_data_class(annotation):
            return False
        return any(needs_pydantic(field.type, seen) for field in fields_of(annotation))
    if get_origin(annotation) is Annotated and any(
        _of_pydantic(type(item)) or type(item).__module__ == "annotated_types"
        for item in annotation.__metadata__
    ):
        return True
    parts = bare(annotation)
    if parts.type is not annotation:
        return needs_pydantic(parts.type, seen)
    origin = get_origin(annotation)
    return any(needs_pydantic(part, seen) for part in (origin, *get_args(annotation)))


def _of_pydantic(annotation: type) -> bool:
    return annotation.__module__.partition(".")[0] == "pydantic" or is_model(annotation)


def constraints_of(metadata: tuple[Any, ...]) -> dict[str, Any]:
    """The constraints of msgspec.Meta, annotated_types and similar objects."""
    found: dict[str, Any] = {}
    for item in metadata:
        for name in CONSTRAINTS:
            value = getattr(item, name, None)
            if value is not None and not callable(value):
                found[name] = value
    return found


class Field:
    """One field of a data class: its name in Python and in the request, and its annotation."""

    __slots__ = ("alias", "default", "name", "names", "required", "type")

    def __init__(
        self, name: str, alias: str, type: Any, required: bool, default: Any = ...
    ) -> None:
        self.name = name
        self.alias = alias
        self.type = type
        self.required = required
        self.default = default
        #: All names in the request. The flag: the field is one of several values of that name.
        self.names: tuple[tuple[str, bool], ...] = ((alias, False),)


def fields_of(annotation: Any) -> list[Field]:
    """The fields of a data class in order; empty for anything else."""
    origin = get_origin(annotation) or annotation
    if not isinstance(origin, type):
        return []
    reader = _reader(origin)
    return [] if reader is None else reader(annotation)


def _reader(origin: type) -> Callable[[Any], list[Field]] | None:
    if is_model(origin) and hasattr(origin, "model_fields"):
        return _model_fields
    if hasattr(origin, "__struct_fields__"):
        return _struct_fields
    if hasattr(origin, "__dataclass_fields__"):
        return _dataclass_fields
    if hasattr(origin, "__attrs_attrs__"):
        return _attrs_fields
    if is_typed_dict(origin):
        return _typed_dict_fields
    return None


def _struct_fields(annotation: Any) -> list[Field]:
    from msgspec import NODEFAULT, structs

    return [
        Field(
            f.name, f.encode_name, f.type, f.required, ... if f.default is NODEFAULT else f.default
        )
        for f in structs.fields(annotation)
    ]


def _hints(annotation: Any) -> dict[str, Any]:
    return typing.get_type_hints(get_origin(annotation) or annotation, include_extras=True)


def _dataclass_fields(annotation: Any) -> list[Field]:
    import dataclasses

    hints = _hints(annotation)
    missing = dataclasses.MISSING
    return [
        Field(
            f.name,
            f.name,
            hints[f.name],
            f.default is missing and f.default_factory is missing,
            ... if f.default is missing else f.default,
        )
        for f in dataclasses.fields(get_origin(annotation) or annotation)
        if f.init
    ]


def _attrs_fields(annotation: Any) -> list[Field]:
    hints = _hints(annotation)
    nothing = sys.modules["attr"].NOTHING
    return [
        Field(a.name, a.name, hints.get(a.name, Any), a.default is nothing)
        for a in (get_origin(annotation) or annotation).__attrs_attrs__
        if a.init
    ]


def _typed_dict_fields(annotation: Any) -> list[Field]:
    required = (get_origin(annotation) or annotation).__required_keys__
    fields = []
    for name, hint in _hints(annotation).items():
        needed = name in required
        while (qualifier := getattr(get_origin(hint), "_name", None)) in _QUALIFIERS:
            # `__required_keys__` does not see Required in a string annotation.
            needed = {"Required": True, "NotRequired": False}.get(qualifier or "", needed)
            hint = get_args(hint)[0]
        fields.append(Field(name, name, hint, needed))
    return fields


_QUALIFIERS = ("Required", "NotRequired", "ReadOnly")


def _model_fields(annotation: Any) -> list[Field]:
    config = annotation.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    fields = []
    for name, info in annotation.model_fields.items():
        names = _names_of(info.validation_alias or info.alias or name)
        if by_name and all(other[0] != name for other in names):
            names.append((name, False))
        kind = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        default = ... if info.is_required() or info.default_factory else info.default
        found = Field(name, names[0][0], kind, info.is_required(), default)
        found.names = tuple(names)
        fields.append(found)
    return fields


def _names_of(alias: Any) -> list[tuple[str, bool]]:
    """The names in the request that may have the value of a field. The flag: the field is one of
    several values. `alias` is a str, or pydantic's AliasPath or AliasChoices."""
    if isinstance(alias, str):
        return [(alias, False)]
    choices = getattr(alias, "choices", None)
    if choices is not None:
        return [name for choice in choices for name in _names_of(choice)]
    path = alias.path
    return [(str(path[0]), len(path) > 1 and isinstance(path[1], int))]
