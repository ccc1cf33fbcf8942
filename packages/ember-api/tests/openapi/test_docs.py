"""/docs: Swagger UI from the package, in a real browser without network; a list without it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ember import Ember
from ember.openapi import serve as serving
from playwright.sync_api import Request as Asked
from playwright.sync_api import expect, sync_playwright

from tests.support.server import ServeFixture
from tests.support.services import unavailable

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[4]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def documented() -> Ember:
    app = Ember(title="Notes <b>", version="3.1")

    @app.get("/notes/{id}", tags=["notes"])
    async def show_note(id: int) -> dict[str, int]:
        """Show one note.

        It is **bold**.
        """
        return {"id": id, "answer": 42}

    @app.delete("/notes/{id}", deprecated=True)
    async def remove_note(id: int) -> None: ...

    return app


def need_swagger() -> None:
    if not (Path(serving.ASSETS) / "swagger-ui-bundle.js").exists():
        unavailable("Swagger UI")


def test_the_page_describes_and_tries_the_api_without_network(serve: ServeFixture) -> None:
    need_swagger()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        unavailable("chromium")
    server = serve(documented())
    wrong: list[str] = []
    asked: list[str] = []

    def note(request: Asked) -> None:
        if not request.url.startswith("data:"):
            asked.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            # Only the server's own name can be resolved.
            args=[*ARGUMENTS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        page = browser.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda message: wrong.append(message.text) if message.type == "error" else None,
        )
        page.on("request", note)
        page.goto(f"http://127.0.0.1:{server.port}/docs")
        expect(page).to_have_title("Notes <b>")
        expect(page.locator(".info .title")).to_contain_text("Notes <b>")
        operation = page.locator("#operations-notes-show_note")
        expect(operation).to_contain_text("Show one note.")
        operation.locator(".opblock-summary").click()
        expect(operation.locator(".opblock-description strong")).to_have_text("bold")
        expect(page.locator(".opblock-deprecated")).to_have_count(1)
        operation.locator("input[placeholder=id]").fill("7")
        operation.locator("button.execute").click()
        expect(operation.locator(".live-responses-table")).to_contain_text('"answer": 42')
        browser.close()
    assert wrong == []
    assert all(url.startswith(f"http://127.0.0.1:{server.port}/") for url in asked), asked
    assert f"http://127.0.0.1:{server.port}/notes/7" in asked


def test_the_page_needs_no_inline_script_and_nothing_from_elsewhere() -> None:
    need_swagger()

    async def main() -> None:
        async with documented().test_client() as c:
            page = await c.get("/docs")
            policy = page.headers["content-security-policy"]
            assert "script-src 'self';" in policy
            assert "default-src 'none'" in policy
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|https?://", page.text)
            for name in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
                file = await c.get(f"/{name}")
                assert file.is_success
                assert file.content
            assert len(re.findall("docs/assets", page.text)) == 3

    asyncio.run(main())


def test_links_are_relative_so_that_a_proxy_may_add_a_prefix() -> None:
    need_swagger()

    async def main() -> None:
        app = Ember(docs_url="/internal/api/docs", openapi_url="/openapi.json")
        async with app.test_client() as c:
            page = await c.get("/internal/api/docs")
            assert 'data-url="../../openapi.json"' in page.text
            assert 'src="docs/assets/docs.js"' in page.text
            assert (await c.get("/internal/api/docs/assets/docs.js")).is_success

    asyncio.run(main())


def test_only_the_files_of_the_page_are_given_out() -> None:
    async def main() -> None:
        async with documented().test_client() as c:
            for name in ("swagger-ui.LICENSE", "..%2fserve.py", "docs.js.map", ""):
                assert (await c.get(f"/docs/assets/{name}")).status_code == 404

    asyncio.run(main())


def test_without_swagger_ui_the_page_lists_the_operations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(serving, "ASSETS", str(tmp_path))

    async def main() -> None:
        async with documented().test_client() as c:
            page = await c.get("/docs")
            assert page.status_code == 200
            assert "<b>GET</b> <code>/notes/{id}</code>" in page.text
            assert "Show one note." in page.text
            assert "deprecated" in page.text
            assert "Notes &lt;b&gt;" in page.text
            assert 'href="openapi.json"' in page.text
            assert (await c.get("/docs/assets/swagger-ui.css")).status_code == 404

    asyncio.run(main())


def test_what_was_fetched_is_what_the_script_pins_and_is_not_committed() -> None:
    need_swagger()
    script = (ROOT / "scripts" / "fetch-docs-ui").read_text()
    pinned = re.findall(r"^([0-9a-f]{64}) \S+ (\S+)$", script, re.MULTILINE)
    assert len(pinned) == 4
    for sum, name in pinned:
        assert hashlib.sha256((Path(serving.ASSETS) / name).read_bytes()).hexdigest() == sum
    listed = subprocess.run(
        ["git", "ls-files", serving.ASSETS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""
