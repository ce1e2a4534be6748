"""The sign-in, the frame around every page, and the overview, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OPERATOR, PASSWORD, look, picture, shifts

pytestmark = pytest.mark.live


def test_somebody_signs_in_by_keyboard_and_out_again(page):
    opened = page("/overview", "")
    look(opened, "sign-in")

    opened.keyboard.type(OPERATOR)  # the name has the focus already
    opened.keyboard.press("Tab")
    opened.keyboard.type("wrong, wrong, wrong")
    opened.keyboard.press("Enter")
    opened.get_by_role("alert").wait_for()
    look(opened, "sign-in-refused")
    opened.keyboard.type(PASSWORD)
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/overview")

    opened.get_by_role("button", name="Sign out").click()
    opened.wait_for_url("**/sign-in")


def test_the_overview_before_the_first_file(page):
    look(page("/overview"), "overview-empty")


def test_what_failed_needs_somebody_until_it_is_put_right(page, site):
    site.send("needs.csv", shifts(1, 2, wrong=True))
    site.send("fine.csv", shifts(1, 2, 3))

    opened = page("/overview")

    opened.locator(".needs").get_by_role("link", name="needs.csv").wait_for()
    opened.locator("canvas").first.wait_for()
    look(opened, "overview")
    opened.get_by_text("The same as a table").click()
    look(opened, "overview-table")

    site.send("needs.csv", shifts(1, 2))
    opened.get_by_text("Nothing. No failed file").wait_for()


def test_the_overview_refreshes_itself_while_somebody_looks(page, site):
    opened = page("/overview")
    loaded = opened.locator(".counts li", has_text="loaded")
    before = int(loaded.inner_text().split()[0])

    site.send("later.csv", shifts(4))

    loaded.filter(has_text=f"{before + 1} loaded").wait_for()


def test_colours_can_be_chosen(page):
    opened = page("/overview")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(ground)

    opened.get_by_label("Colours").select_option("Dark")
    opened.locator("html[data-theme=dark]").wait_for()
    assert opened.evaluate(ground) != light

    opened.get_by_label("Colours").select_option("Light")
    opened.locator("html[data-theme=light]").wait_for()
    assert opened.evaluate(ground) == light


def test_without_script_the_same_is_there(page, site):
    opened = page("/overview", java_script_enabled=False)
    opened.get_by_text("The same as a table").click()
    assert opened.get_by_role("table").is_visible()
    assert "UTC" in opened.locator("tbody time").first.inner_text()

    opened.get_by_label("Colours").select_option("Dark")
    opened.get_by_role("button", name="Set").click()

    assert opened.locator("html").get_attribute("data-theme") == "dark"


def test_nothing_is_asked_for_while_nobody_looks(page, site):
    opened = page("/overview")
    opened.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.away})")
    opened.evaluate("window.asked = 0; document.addEventListener('htmx:beforeSend', () => window.asked++)")

    opened.evaluate("window.away = true; htmx.trigger('[hx-get=\"/overview/now\"]', 'wake')")
    assert opened.evaluate("window.asked") == 0

    with opened.expect_request("**/overview/now"):
        opened.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")


def test_a_page_that_is_not_up_to_date_says_so_until_it_is(page):
    opened = page("/overview")
    opened.context.set_offline(True)
    wake = "htmx.trigger('[hx-get=\"/overview/now\"]', 'wake')"

    opened.evaluate(wake)
    opened.get_by_text("the service does not answer").wait_for()
    assert page.complaints
    page.complaints.clear()

    opened.context.set_offline(False)
    opened.evaluate(wake)
    opened.get_by_text("the service does not answer").wait_for(state="hidden")


def test_the_menu_of_a_phone_by_keyboard(page):
    opened = page("/overview", size="phone")
    menu = opened.locator("details.menu summary")
    menu.focus()
    opened.keyboard.press("Enter")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Overview"
    picture(opened, "menu-phone")

    opened.keyboard.press("Escape")
    assert opened.evaluate("document.activeElement.textContent") == "Menu"

    opened.keyboard.press("Enter")
    opened.locator("details.menu").get_by_role("link", name="Uploads").click()
    opened.wait_for_url("**/uploads")


@pytest.mark.parametrize("path", ["/nothing-here", "/uploads?state=NEVER"])
def test_faults_are_pages(page, path):
    look(page(path), "fault" + path.partition("?")[0].replace("/", "-"))
