"""The kinds of `Response`, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from ember.response import (
    JSONResponse,
    ProblemResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)


@pytest.mark.parametrize("status", [99, 100, 101, 600, "200"])
def test_a_status_that_is_not_final_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="status_code"):
        Response(b"", status)


def test_a_redirect_encodes_what_cannot_stand_in_a_url() -> None:
    assert RedirectResponse("/ä b?c=d").headers["location"] == "/%C3%A4%20b?c=d"
    with pytest.raises(ValueError, match="control character"):
        RedirectResponse("/x\r\nSet-Cookie: a=b")


def test_json_and_problems() -> None:
    assert JSONResponse({"a": [1, None]}).body == b'{"a":[1,null]}'
    problem = ProblemResponse(404, "no such task", extensions={"id": 7})
    assert problem.content_type == "application/problem+json"
    assert b'"title":"Not Found"' in problem.body
    assert b'"id":7' in problem.body


def test_content_type_given_among_the_headers_counts_once() -> None:
    response = Response("<p>", headers={"Content-Type": "text/html"})
    assert response.content_type == "text/html"
    assert "content-type" not in response.headers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a b"}, "not a token"),
        ({"name": "a", "value": "x\r\n"}, "cannot carry"),
        ({"name": "a", "value": "x\x7f"}, "cannot carry"),
        ({"name": "a", "path": "/;"}, "path="),
        ({"name": "a", "domain": "x\r\ny"}, "domain="),
        ({"name": "a", "samesite": "maybe"}, "samesite="),
        ({"name": "a", "samesite": "none"}, "needs secure=True"),
        ({"name": "__Host-a", "secure": True, "path": "/x"}, "prefix needs"),
    ],
)
def test_a_cookie_that_browsers_would_drop_or_misread_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Response().set_cookie(**arguments)


def test_a_stream_wants_an_iterable_of_pieces() -> None:
    with pytest.raises(TypeError, match="expected an async or sync iterable"):
        StreamingResponse(b"whole")  # type: ignore[arg-type]
