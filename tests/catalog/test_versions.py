"""Migrations: the tables as declared, crash-safe, and never downwards."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from twisted.internet.task import Clock

from conch_pipe import catalog
from conch_pipe.catalog import Catalog, DirectDatabase, versions
from conch_pipe.catalog.engine import make_engine
from conch_pipe.catalog.tables import metadata
from conch_pipe.errors import Code, PipeError
from tests.catalog.conftest import Pump

# Opens the catalog and dies just after the n-th statement that writes.
DIE = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from conch_pipe.catalog import DirectDatabase
left = int(sys.argv[2])

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, parameters, context, executemany):
    global left
    if statement.lstrip().startswith(("CREATE", "INSERT", "ALTER", "UPDATE")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

DirectDatabase(f"sqlite:///{sys.argv[1]}").open()
"""
STATEMENTS = 59  # that write, of all migrations, alembic's own included


def opened(path):
    database = DirectDatabase(f"sqlite:///{path}")
    database.open()
    database.close()


def made_at(path, revision):
    """A catalog as an earlier program left it."""
    engine = make_engine(f"sqlite:///{path}", 5)
    config = Config()
    config.set_main_option("script_location", str(Path(catalog.__file__).parent / "migrations"))
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def tables(path):
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_the_migrations_make_exactly_the_declared_tables(tmp_path):
    opened(tmp_path / "c.sqlite")

    with create_engine(f"sqlite:///{tmp_path}/c.sqlite").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        drift = compare_metadata(context, metadata)

    assert drift == []


def test_every_migration_file_is_known_in_its_order():
    config = Config()
    config.set_main_option("script_location", str(Path(catalog.__file__).parent / "migrations"))

    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert tuple(reversed(found)) == versions.KNOWN


def test_a_current_catalog_opens_without_alembic(tmp_path):
    """Importing it takes longer than the rest of the opening."""
    opened(tmp_path / "c.sqlite")
    program = (
        "import sys; from conch_pipe.catalog import DirectDatabase;"
        f"DirectDatabase('sqlite:///{tmp_path}/c.sqlite').open();"
        "print('alembic' in sys.modules)"
    )

    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout

    assert output == b"False\n"


def test_a_newer_catalog_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "c.sqlite"
    opened(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(PipeError) as caught:
        opened(path)

    assert caught.value.code is Code.INVALID
    assert "version 9999" in caught.value.message and "newer pipe-sftp" in caught.value.message


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "c.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")

    with pytest.raises(PipeError, match="not a catalog of pipe-sftp"):
        opened(path)

    assert tables(path) == {"theirs"}


def test_an_older_catalog_keeps_its_jobs_in_no_lane(tmp_path):
    path = tmp_path / "c.sqlite"
    made_at(path, "0002")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO jobs (kind, subject, payload, created_at, due_at, claims, failures, fence, reason)"
            " VALUES ('sync', 'x', '{}', '1969-01-01 00:00:00', '1969-01-01 00:00:00', 0, 0, 0, '')"
        )
    assert "recordings" not in tables(path)

    database = DirectDatabase(f"sqlite:///{path}")
    database.open()
    [job] = Pump().result(Catalog(database, Clock()).jobs.claim(["sync"], 1, 60, {}, 0))
    database.close()

    assert (job.subject, job.lane) == ("x", "")
    assert set(metadata.tables) < tables(path)


@pytest.mark.crash
@pytest.mark.parametrize("statement", [1, STATEMENTS // 2, STATEMENTS])
def test_a_crash_in_a_migration_leaves_the_old_state(tmp_path, statement):
    path = tmp_path / "c.sqlite"

    died = subprocess.run([sys.executable, "-c", DIE, str(path), str(statement)])

    assert died.returncode == -9
    assert tables(path) == set()
    opened(path)
    assert set(metadata.tables) < tables(path)


def test_two_processes_may_open_a_new_catalog_at_once(tmp_path):
    program = f"from conch_pipe.catalog import DirectDatabase; DirectDatabase('sqlite:///{tmp_path}/c.sqlite').open()"

    both = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(2)]

    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert set(metadata.tables) < tables(tmp_path / "c.sqlite")
