"""The documentation page: Swagger UI, or a plain list if its files are missing."""

from __future__ import annotations

import html
from typing import Any

#: A file of its own: the Content-Security-Policy forbids inline scripts.
SCRIPT = """\
"use strict";
const root = document.getElementById("swagger-ui");
window.ui = SwaggerUIBundle({
  url: new URL(root.dataset.url, document.baseURI).href,
  domNode: root,
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""

_LIST_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
background:#fbf9f7;color:#241c17}h1{font-size:1.6rem}h1 small{font-weight:400;color:#7a6a5f}
li{list-style:none;margin:.5rem 0;padding:.6rem .9rem;background:#fff;border:1px solid #eadfd7;
border-radius:8px}ul{padding:0}code{font:600 .95em ui-monospace,monospace}b{display:inline-block;
min-width:5rem;color:#c2410c}p{margin:.2rem 0 0;color:#7a6a5f}s code{opacity:.6}
@media(prefers-color-scheme:dark){body{background:#191512;color:#eee4dc}li{background:#221c18;
border-color:#3a2f28}}
"""


def swagger(title: str, url: str, assets: str) -> str:
    """The page of Swagger UI; `url` and `assets` are relative to it."""
    assets, url = html.escape(assets), html.escape(url)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{html.escape(title)}</title>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        '<link rel=icon href="data:,">'
        f'<link rel=stylesheet href="{assets}/swagger-ui.css">'
        f'<div id=swagger-ui data-url="{url}"></div>'
        f'<script src="{assets}/swagger-ui-bundle.js"></script>'
        f'<script src="{assets}/docs.js"></script></html>'
    )


def listing(document: dict[str, Any], url: str) -> str:
    """A plain page with the operations, without scripts."""
    info = document["info"]
    items = "".join(
        _operation(path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    title = html.escape(info["title"])
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{title}</title><style>{_LIST_STYLE}</style>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        '<link rel=icon href="data:,">'
        f"<h1>{title} <small>{html.escape(info['version'])}</small></h1>"
        f'<p><a href="{html.escape(url)}">OpenAPI description</a>. Swagger UI is not installed; '
        f"<code>scripts/fetch-docs-ui</code> fetches it.</p><ul>{items}</ul></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    line = f"<b>{method.upper()}</b> <code>{html.escape(path)}</code>"
    if operation.get("deprecated"):
        line = f"<s>{line}</s> deprecated"
    return f"<li>{line}<p>{html.escape(operation['summary'])}</p></li>"
