"""The sign-in, the frame around every page, and the overview, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import MEMBER, OPERATOR, PASSWORD, look

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
