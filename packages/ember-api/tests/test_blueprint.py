"""Blueprints over real sockets: prefixes, hosts, limits, error handlers of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from ember import Blueprint, Ember, NotFound, Request, RouteError, RouteLimits
from ember.protocol import MemoryConnection

from tests.support.server import Running, ServeFixture


async def show(request: Request) -> str:
    return request.path


def at_host(server: Running, host: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    with server.connect() as client:
        client.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        answer = client.recv_response(method)
        return answer.status, answer.body


# -- prefixes (E35) ---------------------------------------------------------------------------


def test_a_blueprints_routes_are_behind_its_prefix_and_nowhere_else(serve: ServeFixture) -> None:
    app, tasks = Ember(), Blueprint("/tasks")

    @tasks.get("/{id:int}")
    async def task(id: int) -> str:
        return f"task {id}"

    app.add_blueprint(tasks, prefix="/v1")
    server = serve(app)
    assert server.get("/v1/tasks/5").body == b"task 5"
    for path in ["/5", "/tasks/5", "/v1/5", "/v1/tasks/x"]:
        assert server.get(path).status == 404, path
    answer = server.request("DELETE", "/v1/tasks/5")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS")


def test_nested_prefixes_join_whenever_their_parts_are_declared(serve: ServeFixture) -> None:
    app, outer, inner = Ember(), Blueprint("/tenants/{tenant}"), Blueprint("/users/")
    app.add_blueprint(outer, "/api")
    outer.add_blueprint(inner, "/v2")

    @inner.get("/:user")
    async def user(tenant: str, user: int) -> list[object]:
        return [tenant, user]

    @inner.get("")
    async def users(tenant: str) -> str:
        return f"users of {tenant}"

    server = serve(app)
    assert json.loads(server.get("/api/tenants/acme/v2/users/7").body) == ["acme", 7]
    assert server.get("/api/tenants/acme/v2/users").body == b"users of acme"
    inner.get("/later/on")(show)  # compiled before the next request
    assert server.get("/api/tenants/acme/v2/users/later/on").status == 200
    assert [route.path for route in app.routes] == [
        "/api/tenants/{tenant}/v2/users/:user",
        "/api/tenants/{tenant}/v2/users",
        "/api/tenants/{tenant}/v2/users/later/on",
    ]


def test_a_handler_inside_a_function_binds_a_body_in_a_blueprint(serve: ServeFixture) -> None:
    def build() -> Blueprint:
        @dataclass
        class Item:
            name: str

        items = Blueprint("/items")

        @items.post("/{shelf}")
        async def create(item: Item, shelf: str, copies: int = 1) -> list[object]:
            return [item.name, shelf, copies]

        return items

    app = Ember()
    app.add_blueprint(build(), "/v1")
    with serve(app).connect() as client:
        client.send(
            "POST /v1/items/top?copies=2 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            'Content-Length: 14\r\n\r\n{"name": "it"}'
        )
        assert json.loads(client.recv_response().body) == ["it", "top", 2]


def test_one_blueprint_may_be_at_several_places(serve: ServeFixture) -> None:
    app, part = Ember(), Blueprint()
    part.get("/x")(show)
    app.add_blueprint(part, "/v1")
    app.add_blueprint(part, "/v2")
    server = serve(app)
    assert (server.get("/v1/x").body, server.get("/v2/x").body) == (b"/v1/x", b"/v2/x")


# -- hosts (E36) ------------------------------------------------------------------------------


def test_a_host_reaches_only_the_blueprint_that_is_bound_to_it(serve: ServeFixture) -> None:
    app, admin = Ember(), Blueprint(hosts=["Admin.x", "[::1]"])

    @admin.get("/")
    async def dashboard() -> str:
        return "admin"

    @admin.get("/users/{name}")
    async def user(request: Request, name: str) -> str:
        return f"{name} at {request.route.path}"

    @app.get("/")
    async def index() -> str:
        return "public"

    app.get("/public")(show)
    app.add_blueprint(admin)
    server = serve(app)
    for host in ["admin.x:8000", "ADMIN.X", "admin.x.", "[::1]:80"]:
        assert at_host(server, host, "/") == (200, b"admin"), host
        assert at_host(server, host, "/", "HEAD")[0] == 200
        assert at_host(server, host, "/public")[0] == 404, host
    assert at_host(server, "admin.x", "/users/a%20b") == (200, b"a b at /users/{name}")
    for host in ["x", "admin.x.y", "notadmin.x", "[::2]"]:
        assert at_host(server, host, "/") == (200, b"public"), host
        assert at_host(server, host, "/users/a")[0] == 404, host
        assert at_host(server, host, "/public") == (200, b"/public")
    assert at_host(server, "admin.x", "/", "DELETE")[0] == 405


def test_what_a_host_has_at_a_path_of_our_own_leaves_ours_to_the_others(
    serve: ServeFixture,
) -> None:
    app, admin = Ember(), Blueprint(hosts=["admin.x"])
    ours = ("/docs", "/openapi.json", "/healthz", "/readyz")
    for path in ours:
        admin.get(path)(show)
    app.add_blueprint(admin)
    server = serve(app)
    for path in ours:
        assert at_host(server, "admin.x", path) == (200, path.encode())
        status, body = at_host(server, "x", path)
        assert status == 200, path
        assert body != path.encode()


def test_however_many_spellings_of_a_host_come_each_is_understood() -> None:
    app, admin = Ember(), Blueprint(hosts=["admin.x"])

    @admin.get("/")
    async def dashboard() -> str:
        return "admin"

    @app.get("/")
    async def index() -> str:
        return "public"

    app.add_blueprint(admin)
    connection = MemoryConnection(app)
    for _ in range(2):
        for port in range(1, 300):  # 256 of them are remembered
            for name, body in (("ADMIN.x", b"admin"), ("other.x", b"public")):
                connection.feed(f"GET / HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
                assert connection.take().endswith(b"\r\n\r\n" + body)
    late = Blueprint("/late", hosts=["other.x"])
    late.get("/")(dashboard)
    app.add_blueprint(late)  # what was remembered is forgotten
    connection.feed(b"GET /late/ HTTP/1.1\r\nHost: other.x:1\r\n\r\n")
    assert connection.take().endswith(b"admin")


def test_each_host_may_have_its_own_prefix(serve: ServeFixture) -> None:
    app, api, inner = Ember(), Blueprint(), Blueprint("/in", hosts=["api.x"])
    api.get("/t", name="t")(show)
    inner.get("/t")(show)
    api.add_blueprint(inner)
    app.add_blueprint(api, prefixes={"*": "/v1", "api.x": "/x"})
    server = serve(app)
    assert at_host(server, "www.x", "/v1/t")[0] == 200
    assert at_host(server, "www.x", "/x/t")[0] == 404
    assert at_host(server, "www.x", "/v1/in/t")[0] == 404
    assert at_host(server, "api.x", "/x/t")[0] == 200
    assert at_host(server, "api.x", "/x/in/t")[0] == 200
    assert at_host(server, "api.x", "/v1/in/t")[0] == 200
    assert at_host(server, "api.x", "/v1/t")[0] == 404
    assert app.url_for("t") == "/v1/t"


# -- what is a blueprint's own ----------------------------------------------------------------


def test_a_blueprints_error_handlers_see_the_errors_of_its_routes_alone(
    serve: ServeFixture,
) -> None:
    app, outer, inner = Ember(), Blueprint("/outer"), Blueprint("/inner")

    async def fail() -> str:
        raise KeyError("x")

    async def missing() -> str:
        raise NotFound("no such thing")

    for part in (app, outer, inner):
        part.get("/fail")(fail)
        part.get("/missing")(missing)
    outer.add_blueprint(inner)
    app.add_blueprint(outer)

    @app.handle(404)
    def of_app(request: Request) -> str:
        return "app"

    @outer.handle(404)
    async def of_outer(request: Request, error: Exception) -> str:
        return "outer"

    @inner.handle(LookupError)
    def of_inner(request: Request, error: Exception) -> tuple[str, int]:
        return "inner", 410

    server = serve(app)
    assert server.get("/missing").body == server.get("/nothing").body == b"app"
    assert server.get("/outer/missing").body == server.get("/outer/inner/missing").body == b"outer"
    assert server.get("/outer/nothing").body == b"app"  # no route, so no blueprint
    answer = server.get("/outer/inner/fail")
    assert (answer.status, answer.body) == (410, b"inner")
    assert server.get("/outer/fail").status == server.get("/fail").status == 500


def test_a_blueprints_limits_are_those_of_its_routes_without_their_own(serve: ServeFixture) -> None:
    app, small = Ember(), Blueprint("/small", limits=RouteLimits(max_body_size=3))
    inner = Blueprint("/inner")

    async def size(request: Request) -> str:
        return str(len(await request.body()))

    small.post("/inherits")(size)
    small.post("/own", limits=RouteLimits(max_body_size=4))(size)
    inner.post("/inherits")(size)
    app.post("/free")(size)
    small.add_blueprint(inner)
    app.add_blueprint(small)
    server = serve(app)

    def post(path: str, length: int) -> int:
        with server.connect() as client:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            client.send(head + "x" * length)
            return client.recv_response().status

    for path in ["/small/inherits", "/small/inner/inherits"]:
        assert (post(path, 3), post(path, 4)) == (200, 413), path
    assert (post("/small/own", 4), post("/small/own", 5)) == (200, 413)
    assert post("/free", 5) == 200


def test_tags_of_blueprints_are_added_to_those_of_their_routes() -> None:
    app, outer = Ember(), Blueprint("/a", tags=["a"])
    outer.group("/b", tags=["b"]).get("/", tags=["c", "a"])(show)
    app.add_blueprint(outer)
    assert [route.tags for route in app.routes] == [("a", "b", "c")]


def test_url_for_finds_the_routes_of_blueprints() -> None:
    app = Ember()
    app.group("/users").get("/{id:int}/{tab}", name="user")(show)
    assert app.url_for("user", id=5, tab="a b") == "/users/5/a%20b"


# -- mistakes ---------------------------------------------------------------------------------


def test_routes_of_two_blueprints_that_conflict_are_named_at_start() -> None:
    app = Ember()
    app.group("/a").get("/b/{x}")(show)
    app.group("/a/b").get("/{y}")(show)
    with pytest.raises(RouteError, match=r'"GET /a/b/\{x\}".*"GET /a/b/\{y\}".*match the same'):
        app.freeze()
    named = Ember()
    named.group("/a").get("/x", name="same")(show)
    named.group("/b").get("/x", name="same")(show)
    with pytest.raises(RouteError, match=r'"GET /b/x".* the name "same" is taken by .*"GET /a/x"'):
        named.check()


def test_a_handler_that_cannot_be_called_is_named_with_its_whole_path() -> None:
    app = Ember()

    async def bad(id: int) -> None: ...

    app.group("/users/{id:uuid}").get("/bad")(bad)
    with pytest.raises(RouteError, match=r'"GET /users/\{id:uuid\}/bad".*"id" is annotated int'):
        app.freeze()


def test_mistakes_in_adding_a_blueprint_say_what_to_write() -> None:
    app, part = Ember(), Blueprint()
    wrong: list[tuple[object, str]] = [
        (lambda: Blueprint("v1"), 'write "/v1"'),
        (lambda: app.group("/{x"), "a brace is not closed"),
        (lambda: Blueprint(hosts="a.x"), r'expected a list: hosts=\["a.x"\]'),
        (lambda: Blueprint(hosts=["http://a.x"]), "leave out the scheme and the port"),
        (lambda: Blueprint(hosts=["a.x:80"]), "leave out the scheme and the port"),
        (lambda: Blueprint(hosts=["a.x", "*"]), r'once for "\*" and once for the other'),
        (lambda: Blueprint(tags="a"), r'expected a list: tags=\["a"\]'),
        (lambda: app.add_blueprint(Ember()), "expected a Blueprint"),
        (lambda: app.add_blueprint(part, "/a", prefixes={"*": "/b"}), "not both"),
        (lambda: app.add_blueprint(part, prefixes={}), "prefixes is empty"),
        (lambda: part.add_blueprint(part), "would contain itself"),
    ]
    for call, message in wrong:
        assert callable(call)
        with pytest.raises(RouteError, match=message):
            call()
    part.group("/a").add_blueprint(other := Blueprint())
    with pytest.raises(RouteError, match="would contain itself"):
        other.add_blueprint(part)
    nowhere = Ember()
    nowhere.group(hosts=["a.x"]).group(hosts=["b.x"]).get("/")(show)
    with pytest.raises(RouteError, match=r"a\.x and b\.x: no host is in both"):
        nowhere.freeze()
