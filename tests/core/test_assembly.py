"""The whole service as assembly builds it, and the settings it is built from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conch_pipe import assembly, gateway, tap
from conch_pipe.errors import Mistakes
from conch_pipe.settings import Settings
from conch_pipe.ssh.hostkeys import generate

# Taken as a whole: limits by ssh(), files by model_dump().
WHOLE = {"limits", "files"}


def test_no_setting_is_without_effect():
    """A setting that nothing reads is a promise nobody keeps."""
    text = "".join(Path(module.__file__).read_text() for module in (assembly, gateway, tap))
    text = text.replace("uploads = settings.uploads", "").replace("uploads.", "settings.uploads.")
    unread = [
        f"{section}.{name}"
        for section in Settings.model_fields
        if section not in WHOLE
        for name in type(getattr(Settings(), section)).model_fields
        if not re.search(rf"settings\.{section}\.{name}\b", text)
    ]

    assert unread == []


def test_two_host_keys_of_a_kind_stop_the_start_and_are_told_with_the_other_mistakes(tmp_path):
    """The transport offers one of each kind: the other would be silently without effect."""
    for name in ("old", "new"):
        generate(tmp_path / name, "ed25519")
    settings = Settings.model_validate({"ssh": {"host_keys": [tmp_path / name for name in ("gone", "old", "new")]}})

    with pytest.raises(Mistakes) as caught:
        assembly.load_host_keys(settings)

    assert caught.value.mistakes == [
        f"{tmp_path}/gone: No such file or directory",
        f"{tmp_path}/new: a second Ed25519 key; one of each kind can be used",
    ]


def test_host_keys_of_two_kinds_are_all_loaded(tmp_path):
    for kind in ("rsa", "ed25519"):
        generate(tmp_path / kind, kind)
    settings = Settings.model_validate({"ssh": {"host_keys": [tmp_path / "rsa", tmp_path / "ed25519"]}})

    assert [key.type() for key in assembly.load_host_keys(settings)] == ["RSA", "Ed25519"]
