"""One model, one component; the fields of a query model; what is documented is what is taken."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from ember import Ember, Query
from ember.openapi import document

pytestmark = pytest.mark.once


class Inner(pydantic.BaseModel):
    n: int = 0


class Item(pydantic.BaseModel):
    a: int
    b: int = 3
    inner: Inner = Inner()
    price: Decimal = Decimal(1)


class Computed(pydantic.BaseModel):
    a: int

    @pydantic.computed_field
    def double(self) -> int:
        return 2 * self.a


class Struct(msgspec.Struct):
    item: Item
    price: Decimal = Decimal(1)
    wait: datetime.timedelta | None = None


def test_a_model_that_comes_and_goes_is_one_component() -> None:
    app = Ember()

    @app.post("/item")
    async def item(x: Item) -> Item:
        return x

    @app.post("/items")
    async def items(x: list[Item]) -> list[Item]:
        return x

    @app.post("/struct")
    async def struct(x: Struct) -> list[Struct]:
        return [x]

    found = document(app)
    assert set(found["components"]["schemas"]) == {
        "Inner",
        "Item",
        "Struct",
        "Problem",
        "ValidationProblem",
    }
    properties = found["components"]["schemas"]["Struct"]["properties"]
    assert properties["item"] == {"$ref": "#/components/schemas/Item"}


def test_a_model_that_goes_as_something_else_is_two() -> None:
    app = Ember()

    @app.post("/")
    async def handler(x: Computed) -> Computed:
        return x

    schemas = document(app)["components"]["schemas"]
    assert "double" not in schemas["Computed"]["properties"]
    assert "double" in schemas["Computed_2"]["properties"]


class Page(pydantic.BaseModel):
    limit: int = pydantic.Field(100, ge=1, le=1000, description="how many", examples=[10])
    price: Decimal = Decimal(1)


class StructPage(msgspec.Struct):
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many", examples=[10])] = 100
    price: Decimal = Decimal(1)


@pytest.mark.parametrize("cls", [Page, StructPage])
def test_the_fields_of_a_query_model_say_all_that_they_know(cls: Any) -> None:
    app = Ember()

    async def handler(page: Annotated[cls, Query()]) -> None: ...

    async def plain(
        limit: Annotated[int, Query(ge=1, le=1000, description="how many", examples=[10])] = 100,
    ) -> None: ...

    app.get("/model")(handler)
    app.get("/plain")(plain)
    found = document(app)
    limit, price = found["paths"]["/model"]["get"]["parameters"]
    assert limit == found["paths"]["/plain"]["get"]["parameters"][0]
    assert "pattern" in price["schema"]
    assert cls.__name__ not in found["components"]["schemas"]


def test_durations_are_described_as_they_are_taken() -> None:
    app = Ember()

    @app.get("/")
    async def handler(x: datetime.timedelta) -> None: ...

    schema = document(app)["paths"]["/"]["get"]["parameters"][0]["schema"]
    fits = re.compile(schema["pattern"].replace("$", r"\Z")).search
    for text in ("P1D", "-P1D", "PT36H", "P1DT2H3M4.5S", "PT0.000001S", "P99999999D"):
        assert fits(text), text
        msgspec.convert(text, datetime.timedelta)
    for text in ("P1Y", "P1M", "P1W", "P", "PT", "P1DT", "1", "PT1M1H", "P1D\n"):
        assert not fits(text), text


def test_an_error_has_what_its_schema_says() -> None:
    app = Ember()

    @app.get("/")
    async def handler(x: int) -> None: ...

    assert "request_id" in document(app)["components"]["schemas"]["Problem"]["properties"]
    assert json.dumps(document(app))
