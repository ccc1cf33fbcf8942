"""Which route answers, and with which values."""

from __future__ import annotations

import itertools
import re
from typing import Any
from uuid import UUID

import pytest
from ember.routing.router import RouteError, Router, Template, add_converter, built_in_converters


class Endpoint:
    def __init__(self, path: str) -> None:
        self.path = path
        self.owner = f'route "GET {path}"'


def make(*paths: str, converters: dict[str, Any] | None = None) -> Router:
    router = Router(converters if converters is not None else built_in_converters())
    for path in paths:
        router.add("GET", Template(path), Endpoint(path))
    return router


def find(router: Router, path: str, method: str = "GET") -> tuple[str | None, list[Any]]:
    values: list[Any] = []
    endpoint = router.find(method, path, values)
    return (None, values) if endpoint is None else (endpoint.path, values)


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/i/{n:int}", "/i/42", [42]),
        ("/i/{n:int}", "/i/-7", [-7]),
        ("/i/{n:int}", "/i/007", [7]),
        ("/i/{n:int}", "/i/123456789012345678901234567890", [123456789012345678901234567890]),
        ("/i/{n:int}", "/i/99999999999999999", [99999999999999999]),
        ("/i/{n:int}", "/i/x", None),
        ("/i/{n:int}", "/i/", None),
        ("/i/{n:int}", "/i/-", None),
        ("/i/{n:int}", "/i/1.5", None),
        ("/i/{n:int}", "/i/١", None),
        ("/i/{n:int}", "/i/" + "9" * 5000, None),
        ("/f/{x:float}", "/f/1.5", [1.5]),
        ("/f/{x:float}", "/f/-2", [-2.0]),
        ("/f/{x:float}", "/f/nan", None),
        ("/f/{x:float}", "/f/1e5", None),
        (
            "/u/{id:uuid}",
            "/u/0190163D-8694-739b-aea5-966c26f8ad91",
            [UUID("0190163d-8694-739b-aea5-966c26f8ad91")],
        ),
        ("/u/{id:uuid}", "/u/0190163d8694739baea5966c26f8ad91", None),
        ("/s/{name}", "/s/a b", ["a b"]),
        ("/s/{name}", "/s/", None),
        ("/s/{name}", "/s/a/b", None),
        ("/s/{name:str}/x", "/s/a/x", ["a"]),
        ("/files/{p:path}", "/files/a/b/c.txt", ["a/b/c.txt"]),
        ("/files/{p:path}", "/files/", [""]),
        ("/files/{p:path}", "/files", None),
        ("/files/{p:path}", "/files//a//", ["/a//"]),
        ("/files/{p:path}/meta", "/files/a/b/meta", ["a/b"]),
        ("/files/{p:path}/meta", "/files/meta/meta/meta", ["meta/meta"]),
        ("/files/{p:path}/meta", "/files/a/b", None),
        ("/r/{name}.{kind}", "/r/a.tar.gz", ["a.tar", "gz"]),
        ("/v{major:int}.{minor:int}", "/v1.20", [1, 20]),
        ("/v{major:int}.{minor:int}", "/v1.x", None),
        ("/@{user}", "/@me", ["me"]),
        ("/users/:id", "/users/5", ["5"]),
        ("/a/{x}/b/{y:int}", "/a/1/b/2", ["1", 2]),
    ],
)
def test_a_template_gives_values_or_does_not_match(
    template: str, path: str, values: list[Any] | None
) -> None:
    found, got = find(make(template), path)
    assert (found, got) == ((template, values) if values is not None else (None, []))


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/u/me", "/u/me"),
        ("/u/7", "/u/{id:int}"),
        ("/u/v7", "/u/v{n:int}"),
        ("/u/anna", "/u/{name}"),
        ("/u/anna/x", "/u/{rest:path}"),
        ("/u/me/x", "/u/{rest:path}"),
        ("/u/", "/u/{rest:path}"),
    ],
)
def test_precedence_does_not_depend_on_the_order_of_registration(path: str, wanted: str) -> None:
    paths = ["/u/me", "/u/{id:int}", "/u/v{n:int}", "/u/{name}", "/u/{rest:path}"]
    for order in itertools.permutations(paths):
        found, values = find(make(*order), path)
        assert found == wanted
        assert len(values) == wanted.count("{")


def test_a_dead_end_leaves_no_values_behind() -> None:
    router = make("/a/{x:int}/{y:int}/end", "/a/{name}/{other}/else")
    assert find(router, "/a/1/2/else") == ("/a/{name}/{other}/else", ["1", "2"])


def test_what_one_look_up_finds_is_what_a_search_finds() -> None:
    paths = ["/i/me", "/i/{n:int}", "/i/{n:int}/x", "/{a}/{b:int}", "/é/{n:int}", "/{rest:path}"]
    router = make(*paths)
    assert set(router.prefixes) == {"GET /", "GET /i/", "GET /%C3%A9/"}
    for path in ["/i/5", "/i/x", "/j/5", "/5", "/i/me", "/i/5/x", "/i/"]:
        values: list[Any] = []
        slash = path.rfind("/") + 1
        node = router.prefixes.get(f"GET {path[:slash]}")
        found = node.last(path, slash, values) if node is not None else None
        if found is not None and f"GET {path}" not in router.exact:
            assert (found.path, values) == find(router, path)


def test_each_method_has_its_own_tree() -> None:
    router = Router(built_in_converters())
    router.add("GET", Template("/u/me"), Endpoint("me"))
    router.add("POST", Template("/u/{id}"), Endpoint("post"))
    assert find(router, "/u/me", "POST") == ("post", ["me"])
    assert router.allowed("/u/me") == ["GET", "OPTIONS", "POST"]
    assert router.allowed("/nowhere") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("/u/{id}", "/u/{name}"), ("/u/{id}", "/u/:id"), ("/x", "/x"), ("/{a:path}", "/{b:path}")],
)
def test_two_routes_for_the_same_requests_are_a_conflict(first: str, second: str) -> None:
    message = f'route "GET {first}" and route "GET {second}" match the same requests; remove one'
    with pytest.raises(RouteError, match=re.escape(message)):
        make(first, second)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("users", 'route "users": a path starts with "/"; write "/users"'),
        ("/u?x=1", 'route "/u?x=1": a path has no query or fragment'),
        ("/u/{1x}", '"{1x}" is not a parameter; write {name} or {name:converter}'),
        ("/u/{}", '"{}" is not a parameter'),
        ("/u/{id:}", '"{id:}" has no converter; write {id} or {id:int}'),
        ("/u/{id", '"{id": a brace is not closed, or closed twice'),
        ("/u/id}", '"id}": a brace is not closed, or closed twice'),
        ("/u/{a}{b}", '"{a}{b}": two parameters need some text between them'),
        ("/u/{id}/{id}", 'parameter "id" appears twice; give each its own name'),
        ("/u/:id(\\d+)", '":id(\\d+)" is not a parameter; write :name'),
        ("/u/*", '"*" is not a wildcard here; write {rest:path}'),
    ],
)
def test_a_template_that_cannot_work_says_why(path: str, message: str) -> None:
    with pytest.raises(RouteError, match=re.escape(message)):
        Template(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/users/{id:it}",
            'route "/users/{id:it}": unknown converter "it"; known: int, str, float, uuid, path',
        ),
        ("/{a:path}/{b:path}", '"a" and "b" both span slashes; only one parameter'),
        ("/x{a:path}", '"a" spans slashes, so it needs a segment for itself'),
    ],
)
def test_what_only_the_converters_know_is_said_when_the_route_is_added(
    path: str, message: str
) -> None:
    with pytest.raises(RouteError, match=re.escape(message)):
        make(path)


def test_a_converter_of_ones_own_converts_refuses_and_can_span_groups() -> None:
    converters = built_in_converters()
    add_converter(converters, "hex", "([0-9a-f]{2})+", bytes.fromhex, bytes.hex)
    router = make("/c/{v:hex}", "/c/x{v:hex}-{n:int}", converters=converters)
    assert find(router, "/c/c0ffee") == ("/c/{v:hex}", [b"\xc0\xff\xee"])
    assert find(router, "/c/xc0-3") == ("/c/x{v:hex}-{n:int}", [b"\xc0", 3])
    assert find(router, "/c/zz") == (None, [])
    assert Template("/c/{v:hex}").build({"v": b"\x01"}, converters) == "/c/01"


@pytest.mark.parametrize(
    ("name", "regex", "message"),
    [
        ("int", "x", 'converter "int" exists already'),
        ("a b", "x", 'converter "a b": a name consists of letters'),
        ("bad", "(", "converter \"bad\": '(' is not a regex"),
    ],
)
def test_a_converter_that_cannot_work_says_why(name: str, regex: str, message: str) -> None:
    with pytest.raises(RouteError, match=re.escape(message)):
        add_converter(built_in_converters(), name, regex, str)


def test_a_search_keeps_nothing_per_path() -> None:
    import tracemalloc

    router = make("/i/{n:int}", "/s/{name}", "/p/{rest:path}")
    find(router, "/i/0")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(20_000):
            find(router, f"/i/{n}")
            find(router, f"/s/x{n}")
            find(router, f"/p/{n}/{n}")
            find(router, f"/nowhere/{n}")
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
