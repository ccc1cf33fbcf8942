"""Who answers an error: handlers for failures, for statuses, and in which thread they run."""

from __future__ import annotations

import sys
import threading
from http import HTTPStatus
from typing import Any

import pytest
from ember import (
    Blueprint,
    Ember,
    HTTPError,
    JSONResponse,
    NotFound,
    Request,
    RouteError,
    abort,
)

from tests.support.server import ServeFixture


def app_that_fails() -> Ember:
    app = Ember()

    @app.get("/typed")
    async def typed(q: int) -> int:
        return q

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPError(403, "no")

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("broken")

    return app


@pytest.mark.parametrize("what", [Exception, 500])
def test_a_handler_for_failures_leaves_http_errors_alone(what: Any, serve: ServeFixture) -> None:
    app = app_that_fails()

    @app.handle(what)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "internal"}, 500)

    running = serve(app)
    statuses = {
        path: running.get(path).status for path in ("/nowhere", "/typed", "/refused", "/broken")
    }
    assert statuses == {"/nowhere": 404, "/typed": 422, "/refused": 403, "/broken": 500}
    assert running.request("POST", "/typed").status == 405
    assert running.get("/broken").body == b'{"error":"internal"}'


def test_a_blueprint_for_failures_leaves_http_errors_to_the_application(
    serve: ServeFixture,
) -> None:
    app, part = Ember(), Blueprint("/part")

    @part.handle(Exception)
    async def failed(request: Request) -> tuple[str, int]:
        return "part", 500

    @app.handle(404)
    async def missing(request: Request) -> str:
        return "application"

    @part.get("/gone")
    async def gone() -> None:
        raise NotFound

    @part.get("/broken")
    async def broken() -> None:
        raise KeyError

    app.add_blueprint(part)
    running = serve(app)
    assert running.get("/part/gone").body == b"application"
    assert running.get("/part/broken").body == b"part"


def test_an_http_error_that_is_also_something_else_is_found_by_that(serve: ServeFixture) -> None:
    class Missing(NotFound, LookupError):
        pass

    app = Ember()

    @app.handle(LookupError)
    async def lookup(request: Request) -> str:
        return "by its own class"

    @app.get("/")
    async def handler() -> None:
        raise Missing

    answer = serve(app).get("/")
    assert (answer.status, answer.body) == (404, b"by its own class")


# -- threads ----------------------------------------------------------------------------------


def test_a_plain_error_handler_that_blocks_holds_up_nobody(serve: ServeFixture) -> None:
    app = Ember()
    going_on = threading.Event()

    @app.handle(KeyError)
    def slow(request: Request, error: KeyError) -> tuple[dict[str, Any], int]:
        assert going_on.wait(10)
        return {"thread": threading.current_thread().name, "error": str(error)}, 400

    @app.get("/fails")
    async def fails() -> None:
        raise KeyError("key")

    @app.get("/release")
    async def release() -> str:
        going_on.set()
        return "others are served"

    running = serve(app)
    with running.connect() as client:
        client.send("GET /fails HTTP/1.1\r\nHost: x\r\n\r\n")
        assert running.get("/release").body == b"others are served"
        answer = client.recv_response()
    assert answer.status == 400
    assert b'"thread":"ember-worker-1","error":"\'key\'"' in answer.body


def test_in_a_thread_too_the_error_is_the_one_that_is_handled(serve: ServeFixture) -> None:
    app = Ember()

    @app.handle(KeyError)
    def handler(request: Request) -> str:
        assert isinstance(sys.exc_info()[1], KeyError)
        return threading.current_thread().name

    @app.handle(LookupError, inline=True)
    def inline(request: Request) -> str:
        assert isinstance(sys.exc_info()[1], LookupError)
        return threading.current_thread().name

    @app.get("/key")
    async def key() -> None:
        raise KeyError

    @app.get("/index")
    def index() -> None:
        raise IndexError

    running = serve(app)
    assert running.get("/key").body.startswith(b"ember-worker")
    assert not running.get("/index").body.startswith(b"ember-worker")


def test_an_error_handler_that_fails_in_its_thread_is_a_bare_500(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()

    @app.handle(404)
    def handler(request: Request) -> str:
        raise RuntimeError("the template is missing")

    assert serve(app).get("/nowhere").status == 500
    assert "the template is missing" in caplog.text


# -- http.HTTPStatus --------------------------------------------------------------------------


def test_http_status_is_taken_wherever_a_status_is(serve: ServeFixture) -> None:
    app = Ember()

    @app.get("/route", status_code=HTTPStatus.CREATED)
    async def route() -> dict[str, int]:
        return {}

    @app.get("/tuple")
    async def pair() -> Any:
        return {}, HTTPStatus.ACCEPTED

    @app.get("/three")
    async def three() -> Any:
        return "x", HTTPStatus.ACCEPTED, {"X-A": "1"}

    @app.get("/abort")
    async def aborted() -> None:
        abort(HTTPStatus.CONFLICT, "taken")

    @app.get("/set")
    async def assigned() -> JSONResponse:
        response = JSONResponse({})
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        return response

    @app.handle(HTTPStatus.GONE)
    async def gone(request: Request, error: HTTPError) -> dict[str, Any]:
        return {"status": error.status}

    @app.get("/gone")
    async def is_gone() -> None:
        raise HTTPError(HTTPStatus.GONE)

    running = serve(app)
    statuses = {"/route": 201, "/tuple": 202, "/three": 202, "/abort": 409, "/set": 206}
    for path, status in statuses.items():
        assert running.get(path).status == status, path
    assert b'"status":409' in running.get("/abort").body
    assert running.get("/gone").body == b'{"status":410}'
    paths = running.get("/openapi.json").body
    assert b'"201"' in paths


@pytest.mark.once
@pytest.mark.parametrize("status", [True, 99, "200", 200.0])
def test_what_is_no_status_is_refused(status: Any) -> None:
    app = Ember()
    with pytest.raises(RouteError, match="expected a number from 200 to 599"):
        app.get("/", status_code=status)(lambda: None)
    with pytest.raises(TypeError, match="expected a status from 400 to 599"):
        app.handle(status)(lambda request: None)


# -- one mistake, one traceback ---------------------------------------------------------------


@pytest.mark.parametrize("value", [object(), {"x": object()}, {1, 2}, ({}, 900)])
def test_a_result_without_a_response_is_one_traceback_with_its_owner(
    value: Any, serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()

    @app.get("/")
    async def index() -> Any:
        return value

    assert serve(app).get("/").status == 500
    (record,) = [r for r in caplog.records if r.name == "ember.error"]
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert str(error).startswith('route "GET /" (')
    assert ".index) returned a" in str(error)
    text = caplog.text
    assert text.count("Traceback (most recent call last)") == 1
    assert "During handling of" not in text


def test_what_a_class_itself_raises_while_it_is_written_is_shown_as_well(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    class Model:
        def model_dump(self, mode: str) -> Any:
            raise RuntimeError("its own mistake")

    app = Ember()

    @app.get("/")
    async def index() -> Any:
        return [Model()]

    assert serve(app).get("/").status == 500
    assert "its own mistake" in caplog.text
