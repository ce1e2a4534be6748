"""``conch-pipe schema``: what files must look like, who may send them, and whether this one would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli.edge import REFUSED, Group
from conch_pipe.cli.session import Session, SettingsRefused, now
from conch_pipe.errors import Code, PipeError
from conch_pipe.operations.schemas import known

if TYPE_CHECKING:
    from conch_pipe.formats.schema import Column, Schema
    from conch_pipe.settings import Settings


@click.group(cls=Group)
def schema() -> None:
    """Schemas: the folders partners put files into, and the rules for what is in the files.

    \b
    conch-pipe schema check orgShifts shifts.csv
    conch-pipe schema sample orgShifts --rows 20 > shifts.csv
    conch-pipe schema enable acme orgShifts
    """


@schema.command("list")
@click.pass_obj
def list_schemas(session: Session) -> None:
    """All schemas of the schemas folder, and the organisations that may use each."""
    found = [
        {
            "name": use.name,
            "title": use.schema.title if use.schema else "",
            "table": use.schema.table if use.schema else None,
            "columns": len(use.schema.columns) if use.schema else None,
            "organisations": list(use.organisations),
            "missing": use.schema is None,
        }
        for use in now(session.operations.schemas.list())
    ]
    session.out.document(found)
    session.out.table(
        ("schema", "title", "table", "columns", "organisations", ""),
        [(*list(row.values())[:5], "its file is gone" if row["missing"] else "") for row in found],
        empty=f"no schemas in {session.settings.schemas.folder}",
    )


@schema.command("show")
@click.argument("name", metavar="SCHEMA")
@click.pass_obj
def show_schema(session: Session, name: str) -> None:
    """The columns of SCHEMA: type, rules, meaning."""
    one = known(session.schemas, name)
    columns = [_column(column) for column in one.columns]
    derived = [{"name": each.name, "type": str(each.type), "description": each.description} for each in one.derived]
    session.out.document(
        {
            "name": one.name,
            "title": one.title,
            "description": one.description,
            "table": one.table,
            "on_bad_row": one.on_bad_row,
            "unknown_columns": one.unknown_columns,
            "completeness": one.completeness,
            "columns": columns,
            "derived": derived,
        }
    )
    session.out.say(f"{one.name}: {one.title}" + (f"\n{one.description}" if one.description else ""))
    session.out.facts([("table", one.table), ("bad row", one.on_bad_row), ("unknown columns", one.unknown_columns)])
    session.out.table(
        ("column", "type", "required", "rules", "description"),
        [
            (column["name"], column["type"], column["required"], _rules(column), column["description"])
            for column in columns
        ],
    )
    if derived:
        session.out.say("\nadded by us:")
        session.out.table(("column", "type", "description"), [list(each.values()) for each in derived])


@schema.command("enable")
@click.argument("organisation")
@click.argument("names", metavar="SCHEMA...", nargs=-1, required=True)
@click.pass_obj
def enable_schema(session: Session, organisation: str, names: tuple[str, ...]) -> None:
    """Let ORGANISATION put files into SCHEMA; its next login sees the folder."""
    changed = now(session.operations.organisations.enable_schemas(organisation, *names))
    session.out.document({"organisation": changed.name, "schemas": changed.schemas})
    session.out.say(f"{changed.name} may send {', '.join(changed.schemas)}")


@schema.command("disable")
@click.argument("organisation")
@click.argument("names", metavar="SCHEMA...", nargs=-1, required=True)
@click.pass_obj
def disable_schema(session: Session, organisation: str, names: tuple[str, ...]) -> None:
    """Take SCHEMA away from ORGANISATION; what was uploaded stays."""
    changed = now(session.operations.organisations.disable_schemas(organisation, *names))
    session.out.document({"organisation": changed.name, "schemas": changed.schemas})
    session.out.say(f"{changed.name} may send {', '.join(changed.schemas) or 'nothing'}")


@schema.command("check")
@click.argument("name", metavar="SCHEMA")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def check_file(session: Session, name: str, file: Path) -> None:
    """Would FILE be accepted as SCHEMA? Tells every problem with line, column, value and reason. Needs no service.

    SCHEMA is a name, or the path of a schema's .toml. Without any settings file the schemas that come with the product
    are used. Exits with 1 when the file would be refused.

    \b
    conch-pipe schema check orgShifts february.csv
    conch-pipe schema check drafts/orgShifts.toml february.json --json
    """
    from conch_pipe.cli.uploads import problem_table
    from conch_pipe.formats.check import check
    from conch_pipe.formats.engine import prove_schema
    from conch_pipe.formats.limits import Limits

    wanted, settings = _schema_of(session, name)
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        raise PipeError(Code.NOT_FOUND, f"there is no file {file}") from None
    if size > settings.uploads.max_bytes:
        raise PipeError(Code.TOO_LARGE, f"{file} has {size} bytes; at most {settings.uploads.max_bytes} are taken")
    prove_schema(wanted)
    verdict = check(wanted, file, limits=Limits.of(settings.files.model_dump()))
    session.out.document(
        {
            "schema": wanted.name,
            "file": file,
            "accepted": verdict.accepted,
            "rows": verdict.rows,
            "rejected": verdict.rejected,
            "problem_count": verdict.problem_count,
            "problems": verdict.problems,
        }
    )
    if verdict.problems:
        problem_table(session, verdict.problems)
        if verdict.problem_count > len(verdict.problems):
            session.out.say(f"the first {len(verdict.problems)} of {verdict.problem_count} problems")
        session.out.say()
    if verdict.accepted:
        left = f", {verdict.rejected} left out" if verdict.rejected else ""
        session.out.say(f"{file} is a good {wanted.name}: {verdict.rows} rows{left}")
        return
    session.out.say(f"{file} would be refused: nothing of it would be loaded")
    click.get_current_context().exit(REFUSED)


@schema.command("sample")
@click.argument("name", metavar="SCHEMA")
@click.option("--rows", type=click.IntRange(0, 1_000_000), default=10, show_default=True, help="Rows to make.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="Which kind."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same gives the same rows.")
@click.pass_obj
def sample(session: Session, name: str, rows: int, form: str, seed: int) -> None:
    """A good file of SCHEMA, to standard output; with --json as the key "text".

    \b
    conch-pipe schema sample orgShifts --rows 100 > shifts.csv
    conch-pipe schema sample orgShifts --format json > shifts.json
    """
    from conch_pipe.formats.sample import parts

    made = parts(_schema_of(session, name)[0], rows, form, seed)
    if session.out.as_json:
        session.out.document({"schema": name, "format": form, "rows": rows, "text": "".join(made)})
        return
    for part in made:
        click.echo(part, nl=False)


def _schema_of(session: Session, name: str) -> tuple[Schema, Settings]:
    """A schema for a look at a local file: by path, from the settings' folder, or of those that are shipped."""
    from conch_pipe.formats.schema import SchemaBook, load_schema, shipped
    from conch_pipe.settings import Settings

    try:
        settings, book = session.settings, None
    except SettingsRefused as refused:
        if refused.error.code is not Code.NOT_FOUND:
            raise
        # A partner's machine has the product and no installation.
        settings, book = Settings(), SchemaBook(shipped())
        book.refresh()
    if name.endswith(".toml"):
        return load_schema(Path(name)), settings
    found: Schema = known(book or session.schemas, name)
    return found, settings


def _column(column: Column) -> dict[str, Any]:
    """A column for JSON: what is not said is left out of the table, not of the document."""
    return {
        "name": column.name,
        "type": str(column.type),
        "required": column.required,
        "default": column.default,
        "min": column.minimum,
        "max": column.maximum,
        "pattern": column.pattern,
        "max_length": column.max_length,
        "values": column.values,
        "zone": column.zone,
        "aliases": column.aliases,
        "rename": column.rename,
        "description": column.description,
    }


def _rules(column: dict[str, Any]) -> str:
    """The rules of a column in a few words."""
    told = []
    for key in ("default", "min", "max", "max_length", "pattern", "zone", "rename"):
        if column[key] is not None:
            told.append(f"{key.replace('_', ' ')} {column[key]}")
    if column["values"]:
        told.append("one of " + ", ".join(column["values"]))
    if column["aliases"]:
        told.append("also called " + ", ".join(column["aliases"]))
    return "; ".join(told)
