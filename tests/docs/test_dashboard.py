"""The tour of the dashboard: its pictures are there, are shown, and are small."""

from __future__ import annotations

from tests.browser.test_pictures import MOST
from tests.docs.documents import ROOT, links


def test_every_picture_is_shown_and_small():
    kept = {f"pictures/{path.name}": path for path in (ROOT / "docs" / "pictures").iterdir()}

    shown = {link for link in links(ROOT / "docs" / "dashboard.md") if link.startswith("pictures/")}

    assert shown == set(kept)
    assert [path.name for path in kept.values() if path.stat().st_size > MOST] == []
