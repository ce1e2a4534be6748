"""``conch-pipe warehouse``: questions to the analytics database, beside the running service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.formats.schema import Schema

Row = dict[str, Any]
SHOWN = 1000


@click.group(cls=Group)
def warehouse() -> None:
    """The analytics database: the rows that files became.

    \b
    conch-pipe warehouse query "SELECT count(*) FROM orgShifts"
    conch-pipe warehouse query "SELECT * FROM _uploads ORDER BY loaded_at DESC LIMIT 10"
    """


@warehouse.command("query")
@click.argument("sql")
@click.option(
    "--limit", type=click.IntRange(1), help=f"At most so many rows; default {SHOWN} for people, all with --json."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds to wait while rows are being loaded.",
)
@click.pass_obj
def run_query(session: Session, sql: str, limit: int | None, wait_s: float) -> None:
    """Ask one question in SQL; nothing can be changed. Each row is one object with --json, exact to the last digit.

    Rows carry _upload_id and _row, the number of the record in the file; the table _uploads has one row for each file.

    \b
    conch-pipe warehouse query "SELECT store_id, sum(minutes) FROM orgShifts GROUP BY ALL"
    conch-pipe warehouse query "SELECT * FROM orgTransactions" --json > rows.json
    """
    most = limit or (None if session.out.as_json else SHOWN)
    columns, rows = query(session, sql, limit=most, wait_s=wait_s)
    session.out.document([dict(zip(columns, row, strict=True)) for row in rows])
    session.out.table(columns, rows, empty="no rows")
    if limit is None and most is not None and len(rows) == most:
        session.out.say(f"the first {most} rows; --limit shows more")


def query(
    session: Session, sql: str, *, limit: int | None = None, wait_s: float = 10.0
) -> tuple[list[str], Sequence[tuple[Any, ...]]]:
    """Ask the warehouse of the settings; columns of the same name get a number.

    :raises PipeError: NOT_FOUND when nothing was loaded yet, BUSY, INVALID for a statement that is refused.
    """
    from conch_pipe.settings import local_path
    from conch_pipe.warehouse.reading import query as ask

    path = local_path(session.settings.warehouse.url)
    if path is None:
        raise PipeError(Code.INVALID, "this command can only ask a DuckDB file")
    columns, rows = ask(path, sql, limit=limit, wait_s=wait_s)
    return distinct(columns), rows


def distinct(names: list[str]) -> list[str]:
    """The names, each once: a, a_2, b. An object with two equal keys would lose a value."""
    given: list[str] = []
    for name in names:
        number, one = 1, name
        while one in given:
            number += 1
            one = f"{name}_{number}"
        given.append(one)
    return given


def upload_rows(session: Session, schema: Schema, upload_id: UUID) -> list[Row]:
    """What one upload became, in the file's order."""
    table = schema.table.replace('"', '""')
    columns, rows = query(session, f"SELECT * FROM \"{table}\" WHERE _upload_id = '{upload_id}' ORDER BY _row")  # noqa: S608
    return [dict(zip(columns, row, strict=True)) for row in rows]


def show_rows(session: Session, rows: list[Row]) -> None:
    """Rows for people."""
    session.out.table(list(rows[0]) if rows else [], [list(row.values()) for row in rows], empty="no rows")
