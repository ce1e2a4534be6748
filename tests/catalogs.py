"""New catalogs for tests that are about something else: migrated once in a run, and copied from then on.

What a real new catalog goes through is for tests/catalog (test_versions.py, test_database.py, test_crashes.py).
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from sqlalchemy import Pool, event

from conch_pipe.catalog import DirectDatabase


def in_memory() -> DirectDatabase:
    """One that is open."""
    source = _migrated()

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        source.backup(connection)

    database = DirectDatabase("sqlite://")
    event.listen(Pool, "connect", fill)
    try:
        database.open()
    finally:
        event.remove(Pool, "connect", fill)
    return database


def on_disk(path: Path) -> str:
    """One that nobody has open. :returns: its URL."""
    with closing(sqlite3.connect(path)) as file:
        _migrated().backup(file)
    return f"sqlite:///{path}"


@cache
def _migrated() -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    with tempfile.TemporaryDirectory() as folder:
        database = DirectDatabase(f"sqlite:///{folder}/catalog.sqlite")
        database.open()
        database.close()
        with closing(sqlite3.connect(f"{folder}/catalog.sqlite")) as file:
            file.backup(copy)
    return copy
