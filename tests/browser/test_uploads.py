"""The uploads, the filter by keyboard, and one upload with its problems, in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import HOSTILE, MEMBER, look, picture, shifts

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def sent(site) -> dict[str, str]:
    """Names of uploads, and their ids."""
    return {
        "good.csv": site.send("good.csv", shifts(1, 2, 3)),
        "wrong.csv": site.send("wrong.csv", shifts(5, 6, wrong=True)),
        HOSTILE: site.send(HOSTILE, shifts(7, wrong=True)),
        "long.csv": site.send("n" * 190 + "long.csv", shifts(8)),
    }


def test_the_list_in_all_sizes_and_colours(page, sent):
    opened = page("/uploads")

    look(opened, "uploads")

    name = opened.locator("tbody th a", has_text="onerror").first
    assert name.inner_text() == r"<img src=x onerror=alert(1)>\u202egnp.csv"


def test_the_filter_is_filled_in_by_keyboard(page, sent):
    opened = page("/uploads")
    opened.get_by_label("Name or id").focus()
    opened.keyboard.type("wrong")
    opened.keyboard.press("Tab")
    opened.keyboard.type("FAILED")
    picture(opened, "uploads-filter-focus")
    opened.get_by_role("button", name="Show").focus()
    opened.keyboard.press("Enter")

    opened.wait_for_url("**/uploads?name=wrong&state=FAILED")
    assert opened.locator("tbody tr").count() == 1


def test_the_skip_link_leads_past_the_navigation(page, sent):
    opened = page("/uploads")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the content"

    opened.keyboard.press("Enter")
    opened.keyboard.press("Tab")

    assert opened.evaluate("document.activeElement.name") == "name"


def test_an_id_leads_to_its_upload(page, sent):
    opened = page("/uploads")
    opened.get_by_label("Name or id").fill(sent["good.csv"])
    opened.keyboard.press("Enter")

    opened.wait_for_url(f"**/uploads/{sent['good.csv']}")
    look(opened, "upload-completed")


def test_problems_are_beside_the_lines_they_are_about(page, sent):
    opened = page(f"/uploads/{sent['wrong.csv']}")

    look(opened, "upload-failed")

    lines = opened.locator("tr.line")
    assert lines.first.locator("mark").inner_text() == "at four"
    assert lines.count() == 4


def test_it_is_processed_again_and_the_page_follows(page, sent):
    opened = page(f"/uploads/{sent['wrong.csv']}")

    opened.get_by_role("button", name="Process again").click()

    opened.get_by_text("It is processed once more.").wait_for()
    opened.locator("main .badge", has_text="FAILED").wait_for()


def test_the_raw_copy_is_what_was_sent(page, sent, tmp_path):
    opened = page(f"/uploads/{sent['wrong.csv']}")
    with opened.expect_download() as download:
        opened.get_by_role("link", name="Download as received").click()

    download.value.save_as(tmp_path / "raw")

    assert (tmp_path / "raw").read_bytes() == shifts(5, 6, wrong=True)
    assert download.value.suggested_filename == "wrong.csv"


def test_a_member_looks_and_changes_nothing(page, sent):
    opened = page(f"/uploads/{sent['wrong.csv']}", MEMBER)

    assert opened.locator("main button:not([data-copies])").count() == 0
    assert opened.get_by_text("Download as received").count() == 0
    assert opened.locator("tr.line").count() == 0
    look(opened, "upload-member")


def test_times_to_filter_by_are_the_viewers(page, sent):
    opened = page("/uploads", timezone_id="Asia/Kathmandu")
    opened.get_by_label("From").fill("2026-03-01T00:15")
    opened.get_by_role("button", name="Show").click()

    opened.wait_for_url("**/uploads?since=2026-02-28T18%3A30Z")
    assert opened.get_by_label("From").input_value() == "2026-03-01T00:15"


def test_times_are_the_viewers(page, sent):
    opened = page("/uploads", timezone_id="Asia/Kathmandu")
    time = opened.locator("tbody time").first

    shown, utc = time.inner_text(), time.get_attribute("title")

    assert utc.endswith(" UTC")
    assert shown != utc.removesuffix(" UTC")
    assert time.evaluate("one => new Date(one.dateTime).getMinutes()") == int(shown[14:16])
