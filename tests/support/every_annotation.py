"""An application of forty routes that has every form of annotation, for judges of its description.

Handlers answer what they were given, so that a value that was read wrongly shows.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired

import attrs
import msgspec
import pydantic
from ember import (
    BackgroundTasks,
    Blueprint,
    Body,
    Cookie,
    Depends,
    Ember,
    File,
    Form,
    Header,
    HTMLResponse,
    NotFound,
    Path,
    Query,
    RedirectResponse,
    Request,
    Response,
    SSEResponse,
    StreamingResponse,
    TextResponse,
    UploadFile,
)
from msgspec import Meta
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Owner(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1, max_length=40)]
    mail: str | None = None


class Item(msgspec.Struct):
    title: Annotated[str, Meta(min_length=1, max_length=80)]
    price: Annotated[float, Meta(ge=0, le=1e6)]
    tags: Annotated[list[str], Meta(max_length=5)] = []
    owner: Owner | None = None
    colour: Colour = Colour.RED


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str
    born_on: datetime.date
    wake_up: datetime.time | None = None


class Circle(msgspec.Struct, tag=True):
    radius: Annotated[float, Meta(gt=0)]


class Square(msgspec.Struct, tag=True):
    side: Annotated[int, Meta(ge=1, multiple_of=2)]


class Node(msgspec.Struct):
    value: int
    children: list[Node] = []


class Model(pydantic.BaseModel):
    # Otherwise pydantic takes 0 for a time and "5" for a number in JSON, which its own schema
    # denies.
    model_config = pydantic.ConfigDict(strict=True)
    title: str = pydantic.Field(min_length=2, max_length=20)
    amount: int = pydantic.Field(ge=1, le=100)
    ratio: Decimal | None = None


class Address(pydantic.BaseModel):
    street: str
    country: Literal["DE", "FR"]


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    name: str
    # Not in Model, which a form may bring: in a form pydantic takes "0" for 1970, strict or not.
    since: datetime.datetime | None = None
    day: datetime.date | None = None
    addresses: list[Address] = []


@dataclass
class Point:
    x: int
    y: int
    labels: list[str] = field(default_factory=list)


@attrs.define
class Car:
    wheels: Annotated[int, Meta(ge=3, le=8)]
    name: str = "car"


class Options(TypedDict):
    size: int
    name: NotRequired[str]


class Page(msgspec.Struct):
    limit: int
    offset: int


def paging(
    limit: Annotated[int, Query(ge=1, le=100)] = 20, offset: Annotated[int, Query(ge=0)] = 0
) -> Page:
    return Page(limit, offset)


async def tenant(x_tenant: Annotated[str, Header(min_length=1)]) -> AsyncIterator[str]:
    yield x_tenant


async def double(page: Annotated[Page, Depends(paging)]) -> int:
    return page.limit * 2


app = Ember(title="Forty", version="40")
path = Blueprint("/path", tags=["path"])
query = Blueprint("/query", tags=["query"])
body = Blueprint("/body", tags=["body"])
form = Blueprint("/form", tags=["form"])
answer = Blueprint("/answer", tags=["answer"])

# -- path ------------------------------------------------------------------------------------------


@path.get("/str/{name}")
async def path_str(name: str) -> dict[str, str]:
    return {"name": name}


@path.get("/int/{n:int}")
async def path_int(n: int) -> dict[str, int]:
    return {"n": n}


@path.get("/number/{n}")
async def path_number(n: Annotated[int, Path(ge=1, le=10)]) -> int:
    return n


@path.get("/float/{x:float}")
async def path_float(x: float) -> float:
    return x


@path.get("/uuid/{id:uuid}")
async def path_uuid(id: uuid.UUID) -> dict[str, uuid.UUID]:
    return {"id": id}


@path.get("/rest/{rest:path}")
async def path_rest(rest: str) -> TextResponse:
    return TextResponse(rest)


@path.get("/two/{colour}/{day}")
async def path_two(colour: Colour, day: datetime.date) -> dict[str, Any]:
    return {"colour": colour, "day": day}


# -- query, header, cookie -------------------------------------------------------------------------


@query.get("/scalars")
async def query_scalars(
    number: int, text: str = "", ratio: float = 0.5, flag: bool = False
) -> dict[str, int | str | float | bool]:
    return {"number": number, "text": text, "ratio": ratio, "flag": flag}


@query.get("/constrained")
async def query_constrained(
    q: Annotated[str, Query(min_length=2, max_length=10)],
    code: Annotated[str, Query(pattern="^[a-z]{2,4}$")] = "ab",
    size: Annotated[int, Query(gt=0, lt=10, multiple_of=3)] = 3,
) -> list[str]:
    return [q, code, str(size)]


@query.get("/lists")
async def query_lists(ids: list[int], names: Annotated[list[str], Query(max_length=3)] = []) -> int:  # noqa: B006
    return sum(ids) + len(names)


@query.get("/types")
async def query_types(
    colour: Colour,
    level: Level = Level.LOW,
    id: uuid.UUID | None = None,
    day: datetime.date | None = None,
    when: datetime.datetime | None = None,
    mode: Literal["a", "b"] = "a",
    amount: Decimal | None = None,
) -> dict[str, str]:
    return {"colour": colour.value, "level": str(level), "mode": mode}


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=50)] = 10
    words: list[str] = []
    day: datetime.date | None = None


@query.get("/model")
async def query_model(filter: Annotated[Filter, Query()]) -> Filter:
    return filter


@query.get("/alias")
async def query_alias(kind: Annotated[str, Query(alias="item-kind")]) -> str:
    return kind


@query.get("/hidden")
async def query_hidden(secret: Annotated[str, Query(include_in_schema=False)] = "") -> int:
    return len(secret)


@query.get("/headers")
async def headers(
    x_count: Annotated[int, Header(ge=0)], x_name: Annotated[str | None, Header()] = None
) -> dict[str, Any]:
    return {"count": x_count, "name": x_name}


@query.get("/cookies")
async def cookies(theme: Annotated[Literal["dark", "light"], Cookie()] = "dark") -> str:
    return theme


@query.get("/depends")
async def depends(
    page: Annotated[Page, Depends(paging)],
    twice: Annotated[int, Depends(double)],
    who: Annotated[str, Depends(tenant)],
) -> dict[str, Any]:
    return {"limit": page.limit, "twice": twice, "tenant": who}


# -- JSON bodies -----------------------------------------------------------------------------------


@body.post("/struct")
async def body_struct(item: Item) -> Item:
    return item


@body.put("/strict/{n:int}")
async def body_strict(n: int, person: Strict) -> Strict:
    return person


@body.post("/union")
async def body_union(shape: Circle | Square) -> dict[str, float]:
    return {"size": shape.radius if isinstance(shape, Circle) else shape.side}


@body.post("/tree")
async def body_tree(node: Node) -> Node:
    return node


@body.post("/model", status_code=201)
async def body_model(model: Model) -> Model:
    return model


@body.patch("/customer")
async def body_customer(customer: Customer) -> Customer:
    return customer


@body.post("/dataclass")
async def body_dataclass(point: Point) -> Point:
    return point


@body.post("/attrs")
async def body_attrs(car: Car) -> Car:
    return car


@body.post("/typed-dict")
async def body_typed_dict(options: Options) -> Options:
    return options


@body.post("/list")
async def body_list(items: Annotated[list[Item], Body(max_length=3)]) -> int:
    return len(items)


@body.post("/scalar")
async def body_scalar(number: Annotated[int, Body(ge=0)]) -> int:
    return number


@body.post("/two")
async def body_two(owner: Owner, point: Point, q: int = 0) -> dict[str, Any]:
    return {"owner": owner, "point": point, "q": q}


@body.post("/optional")
async def body_optional(owner: Owner | None = None) -> str:
    return owner.name if owner else "nobody"


@body.post("/map")
async def body_map(counts: dict[str, int]) -> dict[str, int]:
    return counts


@body.delete("/none/{n:int}")
async def body_none(n: int, tasks: BackgroundTasks) -> None:
    tasks.add_task(str, n)


# -- forms -----------------------------------------------------------------------------------------


@form.post("/fields")
async def form_fields(
    name: Annotated[str, Form(min_length=1)], age: Annotated[int, Form(ge=0, le=150)] = 0
) -> dict[str, Any]:
    return {"name": name, "age": age}


@form.post("/file")
async def form_file(file: UploadFile, note: Annotated[str, Form()] = "") -> int:
    return len(await file.read()) + len(note)


@form.post("/files")
async def form_files(files: Annotated[list[UploadFile], File()]) -> list[str]:
    return [file.content_type or "" for file in files]


# -- answers ---------------------------------------------------------------------------------------


@answer.get("/text")
async def answer_text() -> str:
    return "text"


@answer.get("/html")
def answer_html() -> HTMLResponse:
    return HTMLResponse("<p>html</p>")


@answer.get("/tuple")
async def answer_tuple() -> tuple[Owner, int, dict[str, str]]:
    return Owner("x"), 202, {"X-A": "1"}


@answer.get("/stream")
async def answer_stream() -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "piece"

    return StreamingResponse(pieces(), content_type="text/plain")


@answer.get("/generator")
async def answer_generator() -> AsyncIterator[bytes]:
    yield b"piece"


@answer.get("/events")
async def answer_events() -> SSEResponse:
    async def events() -> AsyncIterator[str]:
        yield "event"

    return SSEResponse(events())


@answer.get("/moved")
async def answer_moved() -> RedirectResponse:
    return RedirectResponse("/answer/text")


@answer.get("/perhaps/{n:int}", deprecated=True, summary="Perhaps there is something")
async def answer_perhaps(request: Request, n: int) -> Owner | None:
    if n % 3 == 0:
        raise NotFound("nothing")
    return Owner("x") if n % 3 == 1 else None


@answer.get("/any")
async def answer_any() -> Response:
    return Response(b"\0", content_type="application/octet-stream")


for part in (path, query, body, form, answer):
    app.add_blueprint(part)
