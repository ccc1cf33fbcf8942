"""The page that a browser gets for an unhandled exception in debug mode. Not for production."""

from __future__ import annotations

import html
import linecache
import re
import traceback

from ember._logs import printable, safe_str
from ember.request import Request
from ember.response import HTMLResponse

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#fbf9f7;color:#241c17}
header{background:#c2410c;color:#fff;padding:24px 32px}header p{margin:4px 0;opacity:.85}
h1{font-size:22px;margin:0;overflow-wrap:anywhere}main{padding:16px 32px;max-width:1100px}
section{background:#fff;border:1px solid #eadfd7;border-radius:8px;margin:12px 0;overflow:hidden}
h2{font-size:14px;font-weight:600;margin:0;padding:8px 14px;background:#f5eee9}
h2 span{font-weight:400;color:#7a6a5f}pre{margin:0;padding:8px 0;overflow-x:auto;font:13px/1.6
ui-monospace,monospace}pre div{padding:0 14px}pre .at{background:#ffe8d6;font-weight:600}
table{border-collapse:collapse;font:13px ui-monospace,monospace}td{padding:2px
14px;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#191512;color:#eee4dc}section{background:#221c18;
border-color:#3a2f28}h2{background:#2c241f}pre .at{background:#5b2b12}}
"""


#: Names of fields and parameters whose value is not shown.
SECRET = re.compile(
    r"auth|cookie|token|secret|passw|pwd|api[-_]?key|access[-_]?key|private|credential|session"
    r"|signature|csrf|xsrf|jwt|bearer",
    re.IGNORECASE,
)
#: The text that is shown instead.
MASK = "********"
#: No scripts, no other resources, no frames: a client may have sent parts of the page.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def masked(name: str, value: str) -> str:
    """`value`, or MASK if `name` looks like that of a secret."""
    return MASK if SECRET.search(name) else value


def render(request: Request, error: BaseException) -> HTMLResponse:
    """A page with the exception, its frames (the innermost first) and the request."""
    frames = "".join(_frame(f) for f in reversed(traceback.extract_tb(error.__traceback__)))
    name = _escape(f"{type(error).__name__}: {safe_str(error)}")
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    because = ""
    if cause is not None:
        because = f"<p>because of {_escape(f'{type(cause).__name__}: {safe_str(cause)}')}</p>"
    fields = "".join(
        f"<tr><td>{_escape(k)}</td><td>{_escape(masked(k, v))}</td></tr>"
        for k, v in request.headers.items()
    )
    line = _escape(f"{request.method} {request.path}")
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title>"
        f"<style>{_STYLE}</style><header><h1>{name}</h1>{because}"
        f"<p>{line} &middot; request {_escape(request.id)}</p></header>"
        f"<main>{frames}<section><h2>Request</h2><table>{fields}</table></section></main></html>"
    )
    return HTMLResponse(
        page,
        500,
        {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )


def _escape(text: str) -> str:
    """Escape `text` for HTML, with its line breaks, and control characters as escapes."""
    return html.escape("\n".join(printable(line) for line in text.split("\n")))


def _frame(frame: traceback.FrameSummary) -> str:
    at = frame.lineno or 0
    lines = []
    for number in range(max(1, at - 3), at + 4):
        text = linecache.getline(frame.filename, number)
        if text:
            mark = ' class="at"' if number == at else ""
            lines.append(f"<div{mark}>{number:4d}  {html.escape(text.rstrip()) or ' '}</div>")
    where = f"{html.escape(frame.filename)}:{at}"
    return (
        f"<section><h2>{html.escape(frame.name)} <span>{where}</span></h2>"
        f"<pre>{''.join(lines)}</pre></section>"
    )
