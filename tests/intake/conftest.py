"""An intake in a folder of its own, and a look at what it leaves open."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from conch_pipe.intake import spool as spool_module
from tests.intake.fakes import World


@pytest.fixture(autouse=True)
def _hashing_behind(monkeypatch):
    """As with many cores, however many there are here; tests of the other way say so."""
    monkeypatch.setattr(spool_module, "HASH_IN_PLACE", False)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "spool")


def open_part_files() -> list[str]:
    found = []
    for one in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{one}"))
    return [one for one in found if ".part" in one]


@pytest.fixture(autouse=True)
def _no_part_file_stays_open():
    yield
    assert open_part_files() == []
