"""Class-based routes over real sockets: by name, by mark, their mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ember import Ember, Request, RouteError
from ember.routing import decorators as routing

from tests.support.server import ServeFixture


class Base:
    async def get_shared(self) -> str:
        return f"shared of {type(self).__name__}"


class Users(Base):
    """One object, so that what it keeps is seen by every request."""

    def __init__(self) -> None:
        self.names = ["ada"]

    async def get(self, limit: int = 10) -> list[str]:
        return self.names[:limit]

    async def post(self, request: Request) -> tuple[str, int]:
        self.names.append(await request.text())
        return self.names[-1], 201

    def get_count(self) -> int:
        return len(self.names)

    async def delete_all_of_them(self) -> None:
        self.names.clear()

    @routing.get("/{index:int}", name="user", tags=["one"])
    async def find(self, index: int) -> str:
        return self.names[index]

    @routing.put("/{index:int}")
    @routing.patch("/{index:int}")
    async def rename(self, index: int, request: Request) -> str:
        self.names[index] = f"{request.method} {index}"
        return self.names[index]

    @routing.route("/many", methods=["GET", "PURGE"])
    async def get_something(self, request: Request) -> str:
        return request.method

    def getter(self) -> None: ...
    def _get_private(self) -> None: ...
    def get_(self) -> None: ...

    @property
    def get_computed(self) -> None:
        raise AssertionError("a property is computed by whoever asks for it")


def test_methods_named_after_verbs_and_marked_ones_answer(serve: ServeFixture) -> None:
    app = Ember()
    app.add_class(Users(), prefix="/users", tags=["users"])
    server = serve(app)
    assert json.loads(server.get("/users").body) == ["ada"]
    with server.connect() as client:
        client.send("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nbob")
        answer = client.recv_response()
        assert (answer.status, answer.body) == (201, b"bob")
    assert server.get("/users/count").body == b"2"
    assert json.loads(server.get("/users?limit=1").body) == ["ada"]
    assert server.get("/users/1").body == b"bob"
    for verb in ("PUT", "PATCH"):
        assert server.request(verb, "/users/1").body == f"{verb} 1".encode()
    assert server.request("PURGE", "/users/many").body == b"PURGE"
    assert server.get("/users/something").status == 404  # its mark says where it is
    assert server.get("/users/shared").body == b"shared of Users"
    assert server.request("DELETE", "/users/all_of_them").status == 204
    assert server.get("/users/count").body == b"0"
    for path in ["/users/", "/users/er", "/users/private", "/users/computed", "/count"]:
        assert server.get(path).status == 404, path
    assert app.url_for("user", index=3) == "/users/3"
    assert app.url_for("Users.get_count") == "/users/count"
    assert {r.path: r.tags for r in app.routes}["/users/{index:int}"][:1] == ("users",)


def test_a_class_may_be_at_the_root_and_in_a_blueprint(serve: ServeFixture) -> None:
    class Root:
        async def get(self) -> str:
            return "root"

    class Every:
        @routing.head("/h")
        @routing.options("/o")
        @routing.delete("/d")
        @routing.post("/p")
        async def any_of_them(self, request: Request) -> str:
            return request.method

    app = Ember()
    app.add_class(Root())
    app.group("/part").add_class(Every(), "/every")
    app.group("/root").add_class(Root())  # twice: neither was named
    server = serve(app)
    assert server.get("/").body == server.get("/root").body == b"root"
    for verb, path in {"DELETE": "d", "POST": "p", "OPTIONS": "o"}.items():
        assert server.request(verb, f"/part/every/{path}").body == verb.encode()
    assert server.request("HEAD", "/part/every/h").status == 200
    assert server.get("/part/every/h").status == 405


def test_mistakes_in_a_class_say_what_to_write() -> None:
    class Nothing:
        def other(self) -> None: ...

    class Wrong:
        @routing.get("/{x}")
        async def show(self, x: list[Any], y: Callable[[], int]) -> None: ...

    with pytest.raises(RouteError, match=r"give an instance: Users\(...\)"):
        Ember().add_class(Users)
    with pytest.raises(RouteError, match=r"add_class\(Nothing\): it has no handlers; name methods"):
        Ember().add_class(Nothing())
    with pytest.raises(RouteError, match='write "/users"'):
        Ember().add_class(Users(), prefix="users")
    with pytest.raises(RouteError, match=r'"GET /w/\{x\}" .*Wrong.show'):
        Ember().add_class(Wrong(), prefix="/w")
    with pytest.raises(RouteError, match=r'expected methods=\["GET"\]'):
        routing.route("/x", methods="GET")
    app = Ember()
    app.add_class(Users(), prefix="/a")
    with pytest.raises(RouteError, match='the name "user" is taken'):
        app.add_class(Users(), prefix="/b")
