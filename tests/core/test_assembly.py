"""The whole service as assembly builds it, and the settings it is built from."""

from __future__ import annotations

import re
from pathlib import Path

from conch_pipe import assembly, tap
from conch_pipe.settings import Settings

# Taken as a whole: limits by ssh(), files by model_dump().
WHOLE = {"limits", "files"}


def test_no_setting_is_without_effect():
    """A setting that nothing reads is a promise nobody keeps."""
    text = Path(assembly.__file__).read_text() + Path(tap.__file__).read_text()
    text = text.replace("uploads = settings.uploads", "").replace("uploads.", "settings.uploads.")
    unread = [
        f"{section}.{name}"
        for section in Settings.model_fields
        if section not in WHOLE
        for name in type(getattr(Settings(), section)).model_fields
        if not re.search(rf"settings\.{section}\.{name}\b", text)
    ]

    assert unread == []
