"""Templates (P15): pages over a socket, escaped, with `url_for` and `request`."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ember import Ember, Request, Response, Templates
from ember.responses.templates import TemplateError
from msgspec import Struct

from tests.support.server import ServeFixture

ATTACK = "<script>alert('x')</script>"


class Note(Struct):
    id: int
    text: str


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    def write_template(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write_template


@pytest.fixture
def app() -> Ember:
    return Ember()


@pytest.fixture
def templates(app: Ember, tmp_path: Path) -> Templates:
    return Templates(tmp_path, app=app)


def test_a_handler_returns_a_rendered_page(
    app: Ember, templates: Templates, write: Callable[[str, str], None], serve: ServeFixture
) -> None:
    write("base.html", "<title>{% block title %}{% endblock %}</title>")
    write(
        "home.html",
        "{% extends 'base.html' %}{% block title %}{{ title }} – {% for n in notes %}"
        "[{{ n.text }}]{% endfor %}{% endblock %}",
    )

    @app.get("/")
    async def home() -> Response:
        return templates.render("home.html", {"title": "Hé", "notes": [Note(1, "a"), Note(2, "b")]})

    answer = serve(app).get("/")
    assert answer.status == 200
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.body.decode() == "<title>Hé – [a][b]</title>"


def test_what_comes_from_outside_is_escaped(
    app: Ember, templates: Templates, write: Callable[[str, str], None], serve: ServeFixture
) -> None:
    for name in ("a.html", "a.htm", "a.xml", "a.svg", "a.jinja", "a.html.j2", "a", "a.js"):
        write(name, "<p title='{{ text }}'>{{ text }}</p>")
    write("json.html", "<script>const note = {{ note | tojson }};</script>")
    write("safe.html", "{{ '<b>' | safe }}{{ text }}")

    @app.get("/{name:path}")
    async def page(name: str, text: str) -> Response:
        return templates.render(name, {"text": text, "note": Note(1, text)})

    server = serve(app)
    query = "?text=%3Cscript%3Ealert(%27x%27)%3C/script%3E"
    for name in ("a.html", "a.htm", "a.xml", "a.svg", "a.jinja", "a.html.j2", "a", "a.js"):
        body = server.get(f"/{name}{query}").body.decode()
        assert ATTACK not in body, name
        assert body.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") == 2, name
    inside = server.get(f"/json.html{query}").body.decode()
    assert inside.count("<script>") == 1
    assert inside.count("</script>") == 1
    assert "\\u003cscript\\u003e" in inside
    assert server.get(f"/safe.html{query}").body.startswith(b"<b>&lt;script&gt;")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mail.txt", "text/plain"), ("notes.md.jinja", "text/markdown"), ("list.csv.j2", "text/csv")],
)
def test_plain_text_is_not_escaped(
    templates: Templates, write: Callable[[str, str], None], name: str, kind: str
) -> None:
    write(name, "{{ text }}")
    response = templates.render(name, {"text": "Tom & Ada"})
    assert response.body == b"Tom & Ada"
    assert response.content_type == f"{kind}; charset=utf-8"


def test_markup_has_its_own_type_and_any_can_be_given(
    templates: Templates, write: Callable[[str, str], None]
) -> None:
    write("picture.svg", "<svg/>")
    assert templates.render("picture.svg").content_type == "image/svg+xml"
    response = templates.render(
        "picture.svg", status_code=404, headers={"X-A": "b"}, content_type="text/x"
    )
    assert (response.status_code, response.content_type) == (404, "text/x")
    assert response.headers["x-a"] == "b"
    response.set_cookie("seen", "1")
    assert "set-cookie" in response.headers


def test_templates_know_the_urls_and_the_request(
    app: Ember, templates: Templates, write: Callable[[str, str], None], serve: ServeFixture
) -> None:
    write("t.html", "{{ url_for('task', id=3) }} {{ request.path }} {{ request.args.get('q') }}")
    write("u.html", "{{ url_for('task', id='a b') }} {{ request is defined }}")

    @app.get("/tasks/{id}", name="task")
    async def task(id: str, request: Request) -> Response:
        return request.render_template("t.html", status_code=201)

    @app.get("/other")
    async def other(request: Request) -> Response:
        return templates.render("t.html", request=request)

    @app.get("/alone")
    async def alone() -> Response:
        return templates.render("u.html")

    server = serve(app)
    answer = server.get("/tasks/9?q=%3Cb%3E")
    assert answer.status == 201
    assert answer.body == b"/tasks/3 /tasks/9 &lt;b&gt;"
    assert server.get("/other?q=1").body == b"/tasks/3 /other 1"
    assert server.get("/alone").body == b"/tasks/a%20b False"


def test_url_for_and_request_say_what_they_need(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("url.html", "{{ url_for('task') }}")
    write("request.html", "{{ request.path }}")
    unbound = Templates(tmp_path)
    with pytest.raises(TemplateError, match="url_for needs the application: Templates"):
        unbound.render("url.html")
    with pytest.raises(Exception, match='"request" is not given: render with'):
        unbound.render("request.html")


def test_a_request_without_templates_says_how_to_get_some(
    serve: ServeFixture, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ember()

    @app.get("/")
    async def home(request: Request) -> Response:
        return request.render_template("home.html")

    with caplog.at_level(logging.ERROR, "ember.error"):
        assert serve(app).get("/").status == 500
    [record] = caplog.records
    assert record.getMessage().endswith(
        "request.render_template: the application has no templates; give it some: "
        'Templates("templates", app=app)'
    )


def test_globals_and_filters_are_added_to(
    templates: Templates, write: Callable[[str, str], None]
) -> None:
    write("a.html", "{{ site }} {{ text | shout }} {{ 3 | twice }}")
    templates.globals["site"] = "Ember & Co"
    templates.filters["twice"] = lambda number: number * 2

    @templates.filter
    def shout(text: str) -> str:
        return text.upper()

    assert shout("a") == "A"
    assert templates.render("a.html", {"text": "<a>"}).body == b"Ember &amp; Co &lt;A&gt; 6"


def test_a_template_that_is_missing_is_named_with_the_directories(
    app: Ember,
    templates: Templates,
    tmp_path: Path,
    write: Callable[[str, str], None],
    serve: ServeFixture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write("home.html", "hello")
    write("page.html", "{% include 'part/menu.html' %}")

    @app.get("/{name}")
    async def page(name: str) -> Response:
        return templates.render(name)

    server = serve(app)
    with caplog.at_level(logging.ERROR, "ember.error"):
        answer = server.get("/hone.html")
        assert answer.status == 500
        assert b"hone" not in answer.body
        assert server.get("/page.html").status == 500
    first, second = [record.getMessage() for record in caplog.records]
    where = f'is not in {tmp_path}; did you mean "home.html"?'
    assert f'template "hone.html" {where}' in first
    wanted = f'template "part/menu.html", which "page.html" asks for, is not in {tmp_path}'
    assert wanted in second
    app.debug = True
    shown = server.get("/hone.html", {"Accept": "text/html"}).body.decode()
    assert "TemplateError" in shown
    assert str(tmp_path) in shown


def test_an_error_in_a_template_is_shown_with_its_line_while_debugging(
    app: Ember,
    templates: Templates,
    tmp_path: Path,
    write: Callable[[str, str], None],
    serve: ServeFixture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write("bad.html", "<p>\n{% if %}\n")
    write("missing.html", "<p>\n<b>{{ user.name }}</b>\n")
    app.debug = True

    @app.get("/{name}")
    async def page(name: str) -> Response:
        return templates.render(name)

    server = serve(app)
    with caplog.at_level(logging.CRITICAL, "ember.error"):
        bad = server.get("/bad.html", {"Accept": "text/html"})
        missing = server.get("/missing.html", {"Accept": "text/html"})
    assert (bad.status, missing.status) == (500, 500)
    assert f"{tmp_path / 'bad.html'}:2" in bad.body.decode()
    shown = missing.body.decode()
    assert "&#x27;user&#x27; is undefined" in shown
    assert f"{tmp_path / 'missing.html'}:2" in shown
    assert "&lt;b&gt;{{ user.name }}" in shown


def test_what_is_undefined_is_empty_where_that_was_asked_for(
    tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    write("a.html", "[{{ user }}]{{ 'there' if user is defined else 'away' }}")
    assert Templates(tmp_path, strict=False).render("a.html").body == b"[]away"
    with pytest.raises(Exception, match="'user' is undefined"):
        Templates(tmp_path).render("a.html")


def test_templates_wait_for_what_they_call(
    app: Ember, templates: Templates, write: Callable[[str, str], None], serve: ServeFixture
) -> None:
    write("a.html", "{{ load(3) }}{% for part in parts() %}-{{ part }}{% endfor %}")

    async def load(number: int) -> str:
        await asyncio.sleep(0)
        return f"<{number}>"

    async def parts() -> Any:
        for part in "ab":
            await asyncio.sleep(0)
            yield part

    @app.get("/")
    async def page() -> Response:
        return await templates.render_async("a.html", {"load": load, "parts": parts})

    @app.get("/text")
    async def text() -> str:
        return await templates.render_text("a.html", {"load": load, "parts": parts})

    @app.get("/wrong")
    async def wrong() -> str:
        with pytest.raises(TemplateError) as caught:
            templates.render("a.html", {"load": load, "parts": parts})
        return str(caught.value)

    server = serve(app)
    assert server.get("/").body == b"&lt;3&gt;-a-b"
    assert server.get("/text").body == b"&lt;3&gt;-a-b"
    assert server.get("/wrong").body.decode() == (
        'template "a.html" waits for something: return await templates.render_async("a.html", ...)'
    )


def test_an_async_function_that_does_not_wait_needs_no_await(
    templates: Templates, write: Callable[[str, str], None]
) -> None:
    write("a.html", "{{ now() }}")

    async def now() -> str:
        return "now"

    assert templates.render("a.html", {"now": now}).body == b"now"


def test_a_handler_in_a_thread_renders_too(
    app: Ember, templates: Templates, write: Callable[[str, str], None]
) -> None:
    write("a.html", "{{ request.path }}")

    @app.get("/a")
    def page(request: Request) -> Response:
        return request.render_template("a.html")

    async def main() -> str:
        async with app.test_client() as client:
            return (await client.get("/a")).text

    assert asyncio.run(main()) == "/a"


def test_a_changed_template_is_read_again(
    templates: Templates, tmp_path: Path, write: Callable[[str, str], None]
) -> None:
    import os

    write("a.html", "one")
    assert templates.render("a.html").body == b"one"
    write("a.html", "two")
    os.utime(tmp_path / "a.html", (1, 1))
    assert templates.render("a.html").body == b"two"


def test_the_first_of_several_directories_wins(tmp_path: Path) -> None:
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.html").write_text(folder)
    (tmp_path / "theirs" / "b.html").write_text("b")
    templates = Templates(tmp_path / "mine", tmp_path / "theirs")
    assert templates.render("a.html").body == b"mine"
    assert templates.render("b.html").body == b"b"
    with pytest.raises(TemplateError, match=r"is not in .*mine, .*theirs$"):
        templates.render("zzz.xml")


@pytest.mark.parametrize("name", ["../secret.html", "/etc/passwd", "a/../../secret.html"])
def test_a_name_does_not_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "in").mkdir()
    with pytest.raises(TemplateError, match="is not in"):
        Templates(tmp_path / "in").render(name)


def test_a_directory_that_is_missing_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"Templates: there is no directory .*/pages$"):
        Templates(tmp_path / "pages")


def test_options_are_those_of_jinja(tmp_path: Path, write: Callable[[str, str], None]) -> None:
    write("a.html", "[[ x ]]")
    templates = Templates(tmp_path, variable_start_string="[[", variable_end_string="]]")
    assert templates.render("a.html", {"x": "<"}).body == b"&lt;"
    assert templates.environment.variable_start_string == "[["


def test_without_jinja2_there_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import sys\nsys.modules['jinja2'] = None\n"
        "from ember import Ember, Templates\napp = Ember()\nTemplates('.', app=app)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "ember", "start"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        'ember: module "main" does not import: ImportError: Templates needs Jinja2, which is not '
        'installed: pip install "ember-api[templates]" (main.py:5)\n'
    )


def test_jinja2_is_loaded_by_templates_alone() -> None:
    code = "import ember, sys; from ember import Templates; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
