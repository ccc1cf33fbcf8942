"""The routes of the OpenAPI document and of its page. Their modules are imported at the first
request."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ember.exceptions import NotFound
from ember.request import Request
from ember.response import HTMLResponse, Response
from ember.routing.route import Route
from ember.routing.signature import REQUEST, Plan

if TYPE_CHECKING:
    from ember.openapi.interfaces import DescribedApp

#: Not a Path: pathlib would be imported at start.
ASSETS = os.path.join(os.path.dirname(__file__), "assets")
#: The files of the page and their types. All but the first are from swagger-ui-dist.
FILES = {
    "docs.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
#: No resources of other sites, no inline scripts. Swagger UI needs style attributes and data:
#: images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)


def documentation_routes(app: DescribedApp) -> list[tuple[Route, Plan]]:
    """The routes of `openapi_url` and `docs_url`. A GET route of the application with the same path
    replaces one, unless it is only for some hosts."""
    if app.openapi_url is None:
        return []
    taken = {route.path for route in app.routes if "GET" in route.methods and not route.hosts}
    served = _Documentation(app, app.openapi_url, app.docs_url or "")
    wanted: list[tuple[str, Callable[..., Awaitable[Response]], list[Any]]] = [
        (app.openapi_url, served.openapi, [REQUEST])
    ]
    if app.docs_url is not None:
        wanted.append((app.docs_url, served.page, [REQUEST]))
        wanted.append((f"{app.docs_url.rstrip('/')}/assets/{{name}}", served.asset, [0]))
    return [
        (Route(path, handler, ("GET",), include_in_schema=False), Plan(slots, ()))
        for path, handler, slots in wanted
        if path not in taken
    ]


def installed() -> bool:
    """Whether the files of Swagger UI are installed."""
    return os.path.exists(os.path.join(ASSETS, "swagger-ui-bundle.js"))


class _Documentation:
    def __init__(self, app: DescribedApp, openapi_url: str, docs_url: str) -> None:
        self._app = app
        self._openapi_url = openapi_url
        self._docs_url = docs_url
        self._json: bytes | None = None

    async def openapi(self, request: Request) -> Response:
        # Made once: a new route makes a new _Documentation.
        if self._json is None:
            import json

            from ember.openapi import document

            self._json = json.dumps(document(self._app), ensure_ascii=False).encode()
        return Response(self._json, content_type="application/json")

    async def page(self, request: Request) -> Response:
        from ember.openapi.page import listing, swagger

        # Relative: it works behind a proxy with a prefix.
        base = posixpath.dirname(self._docs_url) or "/"
        url = posixpath.relpath(self._openapi_url, base)
        assets = posixpath.relpath(f"{self._docs_url.rstrip('/')}/assets", base)
        if installed():
            text = swagger(self._app.title, url, assets)
        else:
            from ember.openapi import document

            text = listing(document(self._app), url)
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    async def asset(self, name: str) -> Response:
        kind = FILES.get(name)
        if kind is None:
            raise NotFound(f"the documentation has no file {name!r}")
        if name == "docs.js":
            from ember.openapi.page import SCRIPT

            return Response(SCRIPT.encode(), content_type=kind)
        try:
            with open(os.path.join(ASSETS, name), "rb") as file:
                content = file.read()
        except FileNotFoundError:
            raise NotFound(f"{name} is not installed; scripts/fetch-docs-ui fetches it") from None
        return Response(content, headers={"Cache-Control": "max-age=3600"}, content_type=kind)
