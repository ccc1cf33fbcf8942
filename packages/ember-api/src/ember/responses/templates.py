"""`Templates`: renders Jinja2 templates, with escaping by default.

Install Jinja2 with `pip install "ember-api[templates]"`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ember.request import Request
from ember.response import HTMLResponse
from ember.responses.conversion import encode_json

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.runtime import Context

    from ember.protocol.message.headers import HeadersInit


class _App(Protocol):
    """The parts of an application that templates use."""

    templates: Templates | None

    def url_for(self, name: str, /, **params: Any) -> str: ...


F = TypeVar("F", bound=Callable[..., Any])

#: Endings that do not count: `mail.txt.j2` is text.
_MARKS = (".j2", ".jinja", ".jinja2")
#: File endings without escaping: neither HTML nor XML. All others are escaped.
_PLAIN = {
    ".txt": "text/plain; charset=utf-8",
    ".text": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
}
_MARKUP = {
    ".xml": "application/xml",
    ".svg": "image/svg+xml",
    ".rss": "application/rss+xml",
    ".atom": "application/atom+xml",
}
_HTML = "text/html; charset=utf-8"


class TemplateError(Exception):
    """A missing template, or one that cannot be rendered in this way."""


class Templates:
    """The templates of one or more directories; the first directory with a file is used.

    - `app`: the application for `url_for` in templates that are rendered without a request. Its
      requests get `request.render_template`.
    - `strict`: a missing variable raises an error that names it; False: it is empty text.
    - `auto_reload`: check the file time at every rendering, and read a changed file again.
    - `options`: any other argument of `jinja2.Environment`.

    Output is escaped, unless the name of the template ends with .txt, .text, .md or .csv (a
    further ending .j2, .jinja or .jinja2 does not count). Templates may call `async def` functions
    that wait; use `render_async` for them. Templates have `url_for(name, **params)`, and `request`
    if it was given.

    Raises NotADirectoryError if a directory does not exist, ImportError without Jinja2.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *more: str | os.PathLike[str],
        app: _App | None = None,
        strict: bool = True,
        auto_reload: bool = True,
        **options: Any,
    ) -> None:
        try:
            import jinja2
        except ImportError:
            raise ImportError(
                'Templates needs Jinja2, which is not installed: pip install "ember-api[templates]"'
            ) from None
        self.directories = tuple(os.path.abspath(d) for d in (directory, *more))
        for folder in self.directories:
            if not os.path.isdir(folder):
                raise NotADirectoryError(f"Templates: there is no directory {folder}")
        undefined = jinja2.StrictUndefined if strict else jinja2.Undefined
        given: dict[str, Any] = {
            "loader": jinja2.FileSystemLoader(self.directories),
            "autoescape": _escapes,
            "undefined": undefined,
            "auto_reload": auto_reload,
        }
        #: The `jinja2.Environment`, for all other settings.
        self.environment: Environment = jinja2.Environment(**given | options, enable_async=True)
        self.environment.policies["json.dumps_function"] = _dumps

        @jinja2.pass_context
        def url_for(context: Context, name: str, /, **params: Any) -> str:
            return self._url_for(context.get("request"), name, params)

        self.environment.globals["url_for"] = url_for
        self.environment.globals["request"] = self.environment.undefined(
            hint='"request" is not given: render with request.render_template(name, context), or '
            "with templates.render(name, context, request=request)"
        )
        self._app = app
        if app is not None:
            app.templates = self

    @property
    def globals(self) -> dict[str, Any]:
        """The global variables of all templates. You may add to them."""
        return self.environment.globals

    @property
    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of all templates. You may add to them."""
        return self.environment.filters

    def filter(self, function: F) -> F:
        """Decorate a function: templates can use it as a filter with its name."""
        self.environment.filters[function.__name__] = function
        return function

    def render(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        *,
        request: Request | None = None,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> HTMLResponse:
        """A response with the template `name`, rendered with `context`.

        `content_type`: default: by the name. Raises TemplateError for a missing template, and for a
        template that has to wait (see `render_async`); `jinja2.UndefinedError` for a missing
        variable; the exceptions of the template.
        """
        text = _at_once(self._rendered(name, context, request), name)
        return HTMLResponse(text, status_code, headers, content_type or _type_of(name))

    async def render_async(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        *,
        request: Request | None = None,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        content_type: str | None = None,
    ) -> HTMLResponse:
        """`render` for a template that calls `async def` functions that wait."""
        text = await self._rendered(name, context, request)
        return HTMLResponse(text, status_code, headers, content_type or _type_of(name))

    async def render_text(
        self,
        name: str,
        context: Mapping[str, Any] | None = None,
        *,
        request: Request | None = None,
    ) -> str:
        """The rendered text, without a response: for mails and parts of pages."""
        return await self._rendered(name, context, request)

    async def _rendered(
        self, name: str, context: Mapping[str, Any] | None, request: Request | None
    ) -> str:
        from jinja2 import TemplateNotFound

        values = dict(context or ())
        if request is not None:
            values.setdefault("request", request)
        try:
            return await self.environment.get_template(name).render_async(values)
        except TemplateNotFound as error:
            # The missing template may be one that this template extends or includes.
            raise TemplateError(self._missing(str(error.name or name), name)) from error

    def _missing(self, name: str, asked: str) -> str:
        known = self.environment.list_templates()
        near = difflib.get_close_matches(name, known, 1)
        because = "" if name == asked else f', which "{asked}" asks for,'
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f'template "{name}"{because} is not in {", ".join(self.directories)}{hint}'

    def _url_for(self, request: object, name: str, params: dict[str, Any]) -> str:
        app = request.app if isinstance(request, Request) else self._app
        if app is None:
            raise TemplateError(
                "url_for needs the application: Templates(..., app=app), or render with "
                "request.render_template(name, context)"
            )
        path: str = app.url_for(name, **params)
        return path


def _at_once(rendering: Coroutine[Any, Any, str], name: str) -> str:
    """The result of a coroutine that does not wait. Raises TemplateError if it does."""
    try:
        rendering.send(None)
    except StopIteration as done:
        text: str = done.value
        return text
    rendering.close()
    raise TemplateError(
        f'template "{name}" waits for something: return await templates.render_async("{name}", ...)'
    )


def _ending(name: str) -> str:
    for mark in _MARKS:
        name = name.removesuffix(mark)
    return os.path.splitext(name)[1].lower()


def _escapes(name: str | None) -> bool:
    return name is None or _ending(name) not in _PLAIN


def _type_of(name: str) -> str:
    ending = _ending(name)
    return _PLAIN.get(ending) or _MARKUP.get(ending, _HTML)


def _dumps(value: object, **_: object) -> str:
    """The output of `|tojson`: any value that a handler may return as JSON."""
    return encode_json(value).decode()
