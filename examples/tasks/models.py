"""What a task is, and what clients may send. msgspec checks the types and the bounds for us."""

import datetime
import enum
import unicodedata
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

# The patterns are for those who read the description; `text` and `one_line` below say it in words.
_LINE = r"[^\x00-\x1f\x7f-\x9f]*"
_TEXT = {"pattern": r"^[^\x00]*$"}
Notes = Annotated[str, Meta(max_length=10_000, extra_json_schema=_TEXT)]
Label = Annotated[str, Meta(max_length=24, extra_json_schema={"pattern": f"^{_LINE}$"})]
Title = Annotated[
    str,
    Meta(
        max_length=200,
        extra_json_schema={"pattern": rf"^{_LINE}[^\s\x00-\x1f\x7f-\x9f]{_LINE}$"},
    ),
]
# Where a card stands in its column: smaller is higher. A float, so that a card dropped between two
# others takes the number in the middle and nothing else has to be written.
Position = Annotated[float, Meta(ge=-1e12, le=1e12)]
STEP = 1024.0  # the distance to the last card when one is put at the end


class Status(enum.StrEnum):
    TODO = "todo"
    DOING = "doing"
    DONE = "done"


class Task(msgspec.Struct, frozen=True):
    """One task as it is stored, and as the API returns it."""

    id: int
    title: str
    notes: str
    label: str
    status: Status
    position: float
    version: int  # 1 when created, one more with every change
    created_at: datetime.datetime
    updated_at: datetime.datetime


class NewTask(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST and PUT. Only the title is required."""

    title: Title
    notes: Notes = ""
    label: Label = ""
    status: Status = Status.TODO
    position: Position | UnsetType = UNSET  # unset: at the end of its column

    def __post_init__(self) -> None:
        self.title = one_line("title", self.title)
        self.label = one_line("label", self.label)
        self.notes = text("notes", self.notes)
        if not self.title:
            raise ValueError("title: must not be empty")


class TaskChange(msgspec.Struct, forbid_unknown_fields=True):
    """The body of PATCH: what is left out (UNSET, which is not the empty text) stays as it is."""

    title: Title | UnsetType = UNSET
    notes: Notes | UnsetType = UNSET
    label: Label | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    position: Position | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.title is not UNSET:
            self.title = one_line("title", self.title)
            if not self.title:
                raise ValueError("title: must not be empty")
        if self.label is not UNSET:
            self.label = one_line("label", self.label)
        if self.notes is not UNSET:
            self.notes = text("notes", self.notes)

    def fields(self) -> dict[str, str | float]:
        """The fields that were sent, by column name."""
        return {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not UNSET
        }


class ListQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The query of GET /tasks."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    status: Status | None = None
    search: Annotated[str, Meta(max_length=200, extra_json_schema=_TEXT)] = ""

    def __post_init__(self) -> None:
        text("search", self.search)


class TaskPage(msgspec.Struct):
    """The response of GET /tasks: one page, and how many tasks match in all."""

    items: list[Task]
    total: int
    limit: int
    offset: int


def text(field: str, value: str) -> str:
    # PostgreSQL cannot store NUL in a text; refusing it here makes both storages behave alike.
    if "\0" in value:
        raise ValueError(f"{field}: must not contain the NUL character")
    return value


def one_line(field: str, value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError(f"{field}: must be one line without control characters")
    return value.strip()
