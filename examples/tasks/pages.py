"""The web page: a handful of files, read once and served from memory."""

import hashlib
from pathlib import Path

from ember import Ember, HTTPError, Request, Response

FOLDER = Path(__file__).parent / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PageFile:
    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.content_type = TYPES[path.suffix]
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    def response(self, request: Request) -> Response:
        headers = {
            "ETag": self.etag,
            "Cache-Control": "no-cache",  # the browser asks each time and is told 304
            "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == self.etag:
            return Response(b"", 304, headers)
        return Response(self.content, 200, headers, self.content_type)


def add_page(app: Ember) -> None:
    """Serve the page at / and its files below /web/."""
    files = {path.name: PageFile(path) for path in FOLDER.iterdir() if path.suffix in TYPES}

    @app.get("/")
    async def page(request: Request) -> Response:
        return files["index.html"].response(request)

    @app.get("/web/{name}")
    async def page_file(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPError(404, f"The page has no file {name!r}.")
        return files[name].response(request)
