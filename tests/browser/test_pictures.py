"""The pictures of the operator's tour, made anew: ``PICTURES=docs/pictures pytest tests/browser/test_pictures.py``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import MEMBER, shifts
from tests.browser.small_png import small

FOLDER = os.environ.get("PICTURES", "")
MOST = 80_000  # bytes

pytestmark = [pytest.mark.live, pytest.mark.skipif(not FOLDER, reason="PICTURES names no folder")]


def keep(page: Any, name: str, height: int | None = None) -> None:
    """The upper part of a page as a picture. :param height: None: all of it."""
    width = page.viewport_size["width"]
    page.wait_for_timeout(300)
    whole = page.evaluate("document.documentElement.scrollHeight")
    path = Path(FOLDER) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = {"x": 0, "y": 0, "width": width, "height": min(height or whole, whole)}
    blank = page.context.browser.new_page()
    path.write_bytes(small(blank, page.screenshot(full_page=True, clip=clip)))
    blank.close()
    assert path.stat().st_size <= MOST, f"{path} has {path.stat().st_size} bytes"


@pytest.fixture(scope="module")
def uploaded(site, outgoing) -> str:
    """The id of an upload that failed, beside some that did not."""
    for day in range(1, 9):
        site.send(f"shifts-{day:02}.csv", shifts(day, day + 1, day + 2))
    return site.send("shifts-09.csv", shifts(9, 10, wrong=True))


@pytest.mark.parametrize(
    ("name", "path", "height"),
    [
        ("overview", "/overview", 760),
        ("upload", "/uploads/{upload}", 700),
        ("push-log", "/pushes", 620),
        ("recording", "/recordings/{recording}", 640),
        ("remote", "/remotes/studio", 800),
        ("organisation", "/organisations/demo", 800),
        ("schema", "/schemas/orgShifts", 620),
    ],
)
def test_a_page(page, outgoing, uploaded, name, path, height):
    opened = page(path.format(upload=uploaded, recording=outgoing["rec-4711"].uid))

    keep(opened, name, height)


def test_mistakes_beside_their_fields(page, outgoing):
    opened = page("/remotes/+add")
    opened.get_by_label("Organisation").select_option("demo")
    opened.get_by_label("Name", exact=True).fill("Nova Archive")
    opened.get_by_label("Host", exact=True).fill("sftp://nova.example/in")
    opened.get_by_label("Port").fill("70000")
    opened.get_by_role("button", name="Add it").click()

    keep(opened, "remote-form", 660)


def test_a_secret_that_is_shown_once(page, site, outgoing):
    opened = page("/credentials/+add?organisation=demo")
    opened.get_by_label("Label").fill("payroll server")
    opened.get_by_role("button", name="Make it").click()
    site.service.secrets.add(opened.locator(".copied code").nth(1).inner_text())
    # The picture shows where a secret is, not one.
    opened.evaluate("document.querySelectorAll('.copied code')[1].textContent = 'shown here, this once'")

    keep(opened, "credential", 600)


def test_a_phone_in_the_dark(page, outgoing):
    opened = page(f"/recordings/{outgoing['rec-4711'].uid}", MEMBER, size="phone", color_scheme="dark")

    keep(opened, "phone", 900)
