"""The task board's page in a real browser: one hand makes a change, another page sees it live."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from tests.support.board import Board
from tests.support.services import unavailable
from tests.support.waiting import DEADLINE

# Debian's chromium as root, and none of its talking to other machines.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=DEADLINE * 1000)
#: What is about the page alone; the others see how the server serves it.
of_the_page = pytest.mark.once


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        unavailable("chromium")
    browser = playwright.chromium.launch(
        executable_path=path, args=ARGUMENTS, timeout=DEADLINE * 1000
    )
    yield browser
    browser.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path, {}) as running:
        yield running


class Window:
    """One page on the board; what goes wrong in its scripts fails the test."""

    def __init__(self, browser: Browser, board: Board, **options: object) -> None:
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1200, "height": 900},
            reduced_motion="reduce",
            **options,  # type: ignore[arg-type]
        )
        self.context.set_default_timeout(DEADLINE * 1000)
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.wrong.append(message.text) if message.type == "error" else None,
        )
        self.page.goto(board.url)
        expect(self.page.locator("#state")).to_have_attribute("data-state", "live")
        expect(self.page.locator("#board")).to_have_attribute("aria-busy", "false")

    def card(self, title: str) -> Locator:
        exactly = re.compile(rf"^{re.escape(title)}$")
        return self.page.locator(".card:not(.ghost)").filter(
            has=self.page.locator(".title", has_text=exactly)
        )

    def titles(self, status: str) -> list[str]:
        return self.page.locator(f"#column-{status} .card .title").all_text_contents()

    def expect_in(self, status: str, title: str) -> None:
        """The card is in that column, and nowhere else."""
        expect(self.page.locator(f"#column-{status}").locator(self.card(title))).to_have_count(1)
        expect(self.card(title)).to_have_count(1)

    def add(self, title: str) -> None:
        self.page.keyboard.press("n")
        self.page.keyboard.type(title)
        self.page.keyboard.press("Enter")
        self.expect_in("todo", title)
        self.page.keyboard.press("Escape")

    def drag(self, title: str, onto: Locator) -> None:
        start = self.card(title).locator(".title").bounding_box()
        end = onto.bounding_box()
        assert start is not None
        assert end is not None
        mouse = self.page.mouse
        mouse.move(start["x"] + 20, start["y"] + 5)
        mouse.down()
        mouse.move(start["x"] + 60, start["y"] + 20, steps=4)
        mouse.move(end["x"] + 60, end["y"] + 4, steps=8)
        mouse.up()


@pytest.fixture
def one(browser: Browser, board: Board) -> Iterator[Window]:
    window = Window(browser, board)
    yield window
    window.context.close()
    assert window.wrong == []


@pytest.fixture
def two(browser: Browser, board: Board) -> Iterator[Window]:
    window = Window(browser, board)
    yield window
    window.context.close()
    assert window.wrong == []


def stored(board: Board, title: str) -> dict[str, object] | None:
    items = board.request("GET", "/tasks?limit=200").data["items"]
    return next((task for task in items if task["title"] == title), None)


def test_a_task_written_down_in_one_page_appears_in_the_other(
    board: Board, one: Window, two: Window
) -> None:
    one.page.get_by_role("button", name="New task", exact=True).click()
    one.page.get_by_placeholder("What is to be done?").fill("Plant the lemon tree")
    one.page.get_by_placeholder("Notes").fill("South wall")
    one.page.get_by_placeholder("Label").fill("garden")
    one.page.get_by_role("button", name="Add").click()
    for window in (one, two):
        window.expect_in("todo", "Plant the lemon tree")
        expect(window.card("Plant the lemon tree").locator(".notes")).to_have_text("South wall")
        expect(window.card("Plant the lemon tree").locator(".label")).to_have_text("garden")
    assert one.titles("todo")[0] == two.titles("todo")[0] == "Plant the lemon tree"
    task = stored(board, "Plant the lemon tree")
    assert task is not None
    assert (task["notes"], task["label"], task["status"]) == ("South wall", "garden", "todo")


@of_the_page
def test_a_card_is_edited_where_it_is(board: Board, one: Window, two: Window) -> None:
    one.add("Bake bread")
    one.card("Bake bread").click()
    one.page.get_by_label("Title").fill("Bake rye bread")
    one.page.get_by_label("Notes").fill("With caraway")
    one.page.get_by_role("button", name="Save").click()
    for window in (one, two):
        window.expect_in("todo", "Bake rye bread")
        expect(window.card("Bake rye bread").locator(".notes")).to_have_text("With caraway")
        expect(window.card("Bake bread")).to_have_count(0)
    one.card("Bake rye bread").click()
    one.page.get_by_label("Title").fill("Never mind")
    one.page.keyboard.press("Escape")
    one.expect_in("todo", "Bake rye bread")
    assert stored(board, "Never mind") is None


@of_the_page
def test_a_card_is_dragged_to_another_column_and_to_another_place(
    board: Board, one: Window, two: Window
) -> None:
    one.add("Drag me")
    first, second = one.titles("doing")[:2]
    one.drag("Drag me", one.card(second))
    for window in (one, two):
        window.expect_in("doing", "Drag me")
        assert window.titles("doing")[:3] == [first, "Drag me", second]
    one.drag("Drag me", one.card(first))
    expect(two.page.locator("#column-doing .card .title").first).to_have_text("Drag me")
    assert one.titles("doing")[:3] == ["Drag me", first, second]
    one.page.reload()
    expect(one.page.locator("#column-doing .card .title").first).to_have_text("Drag me")


@of_the_page
def test_a_drag_is_given_up_with_escape(board: Board, one: Window) -> None:
    one.add("Stay")
    start = one.card("Stay").locator(".title").bounding_box()
    end = one.page.locator("#column-done .cards").bounding_box()
    assert start is not None
    assert end is not None
    one.page.mouse.move(start["x"] + 20, start["y"] + 5)
    one.page.mouse.down()
    one.page.mouse.move(end["x"] + 40, end["y"] + 40, steps=8)
    one.expect_in("done", "Stay")
    one.page.keyboard.press("Escape")
    one.expect_in("todo", "Stay")
    one.page.mouse.up()
    one.expect_in("todo", "Stay")
    task = stored(board, "Stay")
    assert task is not None
    assert task["version"] == 1


@of_the_page
def test_everything_can_be_done_with_the_keyboard(board: Board, one: Window, two: Window) -> None:
    one.add("By hand")
    keyboard = one.page.keyboard
    one.card("By hand").focus()
    keyboard.press("Shift+ArrowRight")
    two.expect_in("doing", "By hand")
    expect(one.card("By hand")).to_be_focused()
    keyboard.press("Shift+ArrowDown")
    expect(two.page.locator("#column-doing .card .title").nth(1)).to_have_text("By hand")
    keyboard.press("ArrowUp")
    expect(one.card("By hand")).not_to_be_focused()
    keyboard.press("ArrowDown")
    expect(one.card("By hand")).to_be_focused()
    keyboard.press("Enter")
    keyboard.press("End")
    keyboard.type(" and quickly")
    keyboard.press("Enter")
    two.expect_in("doing", "By hand and quickly")
    expect(one.card("By hand and quickly")).to_be_focused()
    keyboard.press("Delete")
    expect(two.card("By hand and quickly")).to_have_count(0)
    assert stored(board, "By hand and quickly") is None


@of_the_page
def test_what_was_deleted_can_be_had_back(board: Board, one: Window, two: Window) -> None:
    one.add("Precious")
    one.card("Precious").hover()
    one.page.get_by_role("button", name="Delete Precious").click()
    for window in (one, two):
        expect(window.card("Precious")).to_have_count(0)
    one.page.get_by_role("button", name="Undo").click()
    for window in (one, two):
        window.expect_in("todo", "Precious")
    assert stored(board, "Precious") is not None


@of_the_page
def test_a_change_by_the_api_is_seen_at_once(board: Board, one: Window) -> None:
    task = board.create("From curl", label="api")
    one.expect_in("todo", "From curl")
    board.request("PATCH", f"/tasks/{task['id']}", {"status": "done", "title": "From curl, done"})
    one.expect_in("done", "From curl, done")
    board.request("DELETE", f"/tasks/{task['id']}")
    expect(one.card("From curl, done")).to_have_count(0)


@of_the_page
def test_a_card_fits_between_two_that_leave_no_room(board: Board, one: Window) -> None:
    # No number lies between these two positions: the column has to be numbered again.
    board.create("Above", status="done", position=-1.0)
    board.create("Below", status="done", position=-0.9999999999999999)
    board.create("Between")
    one.expect_in("todo", "Between")
    one.expect_in("done", "Below")
    one.drag("Between", one.card("Below"))
    one.expect_in("done", "Between")
    assert one.titles("done")[:3] == ["Above", "Between", "Below"]
    one.page.reload()
    one.expect_in("done", "Between")
    assert one.titles("done")[:3] == ["Above", "Between", "Below"]


@of_the_page
def test_a_board_larger_than_one_page_of_the_api_is_shown_whole(
    browser: Browser, board: Board
) -> None:
    for number in range(210):
        board.create(f"task {number}", status="done")
    total = board.request("GET", "/tasks").data["total"]
    window = Window(browser, board)
    expect(window.page.locator(".card")).to_have_count(total)
    window.context.close()


@of_the_page
def test_an_edit_of_what_was_deleted_meanwhile_is_refused_aloud(board: Board, one: Window) -> None:
    task = board.create("Going")
    one.card("Going").click()
    one.page.get_by_label("Title").fill("Gone")
    board.request("DELETE", f"/tasks/{task['id']}")
    count = board.request("GET", "/tasks").data["total"]
    expect(one.page.locator("#summary")).to_contain_text(f"of {count} done")
    one.page.keyboard.press("Enter")
    expect(one.page.locator(".toast")).to_contain_text("deleted meanwhile")
    expect(one.page.locator(".card")).to_have_count(count)


@of_the_page
def test_a_title_is_text_and_never_markup(board: Board, one: Window) -> None:
    title = "<img src=x onerror=alert(1)><b>bold</b>"
    board.create(title)
    one.expect_in("todo", title)
    expect(one.page.locator(".card b, .card img")).to_have_count(0)


@of_the_page
def test_search_shows_only_what_matches(board: Board, one: Window) -> None:
    board.create("Needle in the hay", notes="shiny")
    one.expect_in("todo", "Needle in the hay")
    one.page.keyboard.press("/")
    one.page.keyboard.type("SHINY needle")
    expect(one.page.locator(".card:visible")).to_have_count(1)
    one.page.keyboard.press("Escape")
    expect(one.page.locator(".card:visible")).not_to_have_count(1)


@of_the_page
def test_a_refusal_is_shown_and_the_board_is_right_again(board: Board, one: Window) -> None:
    task = board.create("Will be refused")
    one.expect_in("todo", "Will be refused")
    path = f"**/tasks/{task['id']}"
    problem = '{"title": "Service Unavailable", "detail": "The database does not answer."}'
    one.page.route(path, lambda route: route.fulfill(status=503, body=problem))
    one.card("Will be refused").focus()
    one.page.keyboard.press("Shift+ArrowRight")
    expect(one.page.locator(".toast")).to_contain_text("The database does not answer.")
    one.expect_in("todo", "Will be refused")
    # The browser logs the answer that we made up; nothing else may be wrong.
    assert all("503" in text for text in one.wrong)
    one.wrong.clear()


def test_a_page_that_lost_its_server_finds_it_again(browser: Browser, tmp_path: Path) -> None:
    with Board(tmp_path, {}) as first:
        window = Window(browser, first)
        port = first.port
        assert first.stop() == 0
        expect(window.page.locator("#state")).to_have_attribute("data-state", "lost")
        with Board(tmp_path, {}, port=port) as second:
            second.create("Written meanwhile")
            expect(window.page.locator("#state")).to_have_attribute("data-state", "live")
            window.expect_in("todo", "Written meanwhile")
        window.context.close()


def test_a_page_that_nobody_looks_at_gives_its_connection_back(
    browser: Browser, board: Board
) -> None:
    window = Window(browser, board)
    look = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
    }"""
    window.page.clock.install()
    with board.listen() as stream:
        stream.expect("resync")
        assert board.request("GET", "/status").data["pages"] == 2
        window.page.evaluate(look, True)
        window.page.clock.fast_forward(21_000)
        while board.request("GET", "/status").data["pages"] != 1:
            window.page.evaluate("0")  # the test's own timeout ends this
        board.create("Written unseen")
        expect(window.card("Written unseen")).to_have_count(0)
        window.page.evaluate(look, False)
        window.expect_in("todo", "Written unseen")
    window.context.close()
    assert window.wrong == []


@of_the_page
def test_a_phone_has_one_column_in_sight_and_buttons_for_the_thumb(
    browser: Browser, board: Board
) -> None:
    window = Window(browser, board, has_touch=True, is_mobile=True)
    window.page.set_viewport_size({"width": 390, "height": 800})
    board.create("Thumb")
    window.expect_in("todo", "Thumb")
    tabs = window.page.locator("#tabs button")
    expect(tabs.nth(0)).to_have_attribute("aria-current", "")
    window.card("Thumb").get_by_role("button", name="Move to Doing").tap()
    window.expect_in("doing", "Thumb")
    tabs.nth(1).tap()
    expect(window.card("Thumb")).to_be_in_viewport()
    wide = window.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    window.context.close()
    assert window.wrong == []


@of_the_page
def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, board: Board) -> None:
    window = Window(browser, board, color_scheme="dark")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    assert window.page.evaluate(paper) == "rgb(22, 18, 16)"
    window.page.get_by_role("button", name="Change the theme").click()
    assert window.page.evaluate(paper) == "rgb(246, 242, 236)"
    window.page.reload()
    assert window.page.evaluate(paper) == "rgb(246, 242, 236)"
    window.context.close()
