"""Which version of the tables a database has, and bringing an older one up to date.

alembic does the work but is imported only when there is work: it takes longer than opening the database.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from conch_pipe.catalog.engine import explain
from conch_pipe.errors import Code, PipeError

# Every revision this program knows, oldest first; a test compares it with the files.
KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006")


def bring_up_to_date(engine: Engine) -> None:
    """Migrate a new or older database in one transaction; leave a current one alone.

    :raises PipeError: INVALID when a newer program wrote it; BUSY, FAILED.
    """
    try:
        with engine.connect() as connection:
            if current(connection) == KNOWN[-1]:
                return
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            # Asked again under the lock: two processes may have started at once.
            if current(connection) != KNOWN[-1]:
                _migrate(connection)
    except DBAPIError as error:
        raise explain(error) from error


def current(connection: Connection) -> str | None:
    """The database's revision; None for one without tables.

    :raises PipeError: INVALID when this program does not know the revision.
    """
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise PipeError(Code.INVALID, "this database is not a catalog of pipe-sftp", f"tables: {sorted(tables)}")
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    if revision not in KNOWN:
        raise PipeError(
            Code.INVALID,
            f"the catalog has version {revision}, this program knows up to {KNOWN[-1]}: use the newer pipe-sftp",
        )
    return str(revision)


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
