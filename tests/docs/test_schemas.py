"""What docs/schemas.md says of schemas is what the check does, and its reference is that of the shipped files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from conch_pipe.cli.program import program
from conch_pipe.cli.session import Session
from conch_pipe.formats import parsing
from conch_pipe.formats.check import check
from conch_pipe.formats.lexical import Type, type_of, value_of
from conch_pipe.formats.parsing import parse_schema
from conch_pipe.model import Verdict
from tests.docs import reference
from tests.docs.documents import SCHEMAS, block, code, rows

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """In an empty folder, without settings of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPE_SFTP_CONFIG", raising=False)


def command(*words: str) -> list[str]:
    """The lines that ``conch-pipe`` prints, both outputs, as a document shows them."""
    done = CliRunner().invoke(program, words, prog_name="conch-pipe", obj=Session())
    return [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]


def judge(schema: str, text: str, name: str = "visits.csv") -> tuple[Verdict, list[tuple[str, ...]]]:
    """The verdict on a file, and its rows in the table as text."""
    Path(name).write_text(text)
    verdict = check(parse_schema(schema, "visits"), Path(name), parquet=Path("rows.parquet"))
    return verdict, duckdb.sql("SELECT COLUMNS(*)::VARCHAR FROM 'rows.parquet'").fetchall() if verdict.accepted else []


def test_the_reference_is_that_of_the_shipped_schemas():
    assert reference.stands() == reference.reference(), "run python -m tests.docs.reference"


def test_the_example_is_judged_as_shown():
    Path("visits.toml").write_text(block(SCHEMAS, "An example", "toml"))
    Path("visits.csv").write_text(block(SCHEMAS, "An example", "csv"))
    asked, *answer = block(SCHEMAS, "An example", "").splitlines()

    said = command(*asked.removeprefix("$ conch-pipe ").split())

    assert said == answer


def test_the_mistakes_are_told_as_shown():
    Path("mistakes.toml").write_text((HERE / "mistakes.toml").read_text())
    Path("shifts.csv").write_text("shift_id\n1\n")
    asked, *answer = block(SCHEMAS, "Mistakes", "").splitlines()

    said = command(*asked.removeprefix("$ conch-pipe ").split())

    assert said == answer


def test_wrong_sql_is_told_as_shown():
    Path("v2.toml").write_text(block(SCHEMAS, "An example", "toml").replace("timezone(", "timezoned("))
    Path("visits.csv").write_text(block(SCHEMAS, "An example", "csv"))

    said = command("schema", "check", "v2.toml", "visits.csv")

    # DuckDB adds guesses on further lines.
    assert said[:2] == block(SCHEMAS, "Mistakes", "", 1).splitlines()


def test_every_key_of_a_schema_has_its_row():
    of_file = rows(SCHEMAS, "key", "value", "default", "")
    of_columns = rows(SCHEMAS, "key", "of type", "value", "default", "")

    told = {key for row in of_file for key in code(row[0])}
    columns = {key: set(row[1].replace(",", "").split()) for row in of_columns for key in code(row[0])}

    sections = {"completeness", "columns", "derived", "transform"}
    assert told == (set(parsing.KEYS) - sections) | set(parsing.COMPLETENESS) | set(parsing.DERIVED) | {"python"}
    kinds = {key: {kind for kind, keys in parsing.OF_TYPE.items() if key in keys} for key in parsing.ALL_OF_TYPE}
    everywhere = {key: {"all"} for key in parsing.COLUMN} | {"type": set()}
    assert columns == everywhere | kinds


def types() -> list[Any]:
    """type, its texts that are taken, its texts that are refused."""
    table = rows(SCHEMAS, "type", "in the table", "taken", "refused, for instance")
    known = {code(row[0])[0].replace("(p,s)", "(8,2)"): row for row in table}
    assert set(known) == set(parsing.OF_TYPE) - {"decimal"} | {"decimal(8,2)"}
    return [
        pytest.param(kind, row[1].replace("(p,s)", "(8,2)"), code(row[2]), code(row[3]), id=kind)
        for kind, row in known.items()
        if kind not in ("text", "enum")  # their cells are words, not values
    ]


@pytest.mark.parametrize(("kind", "sql", "taken", "refused"), types())
def test_a_type_takes_and_refuses_what_its_row_says(kind, sql, taken, refused):
    schema = (
        f'on_bad_row = "reject_row"\n[columns.id]\ntype = "text"\n[columns.value]\ntype = "{kind}"\nrequired = true\n'
    )
    lines = [f'x,"{value}"' for value in (*taken, *refused)]

    verdict, loaded = judge(schema, "\n".join(["id,value", *lines, ""]))

    assert taken and refused
    assert [row[0] for row in loaded] == [str(n + 1) for n in range(len(taken))], verdict.problems
    assert type_of(kind).sql == sql


def test_times_mean_what_the_table_of_zones_says():
    (header,) = [
        line.split("|")[2:4] for line in SCHEMAS.read_text().splitlines() if line.startswith("| `zone` | `2026")
    ]
    texts = [code(cell)[0] for cell in header]
    table = rows(SCHEMAS, "`zone`", *(f"`{text}`" for text in texts))

    for zone, *meanings in table:
        for text, meaning in zip(texts, meanings, strict=True):
            try:
                moment: Any = value_of(Type("timestamp"), text, code(zone)[0].strip('"'))
                found = f"{moment:%H:%M} UTC"
            except ValueError as error:
                found = "refused"
                assert str(error) in meaning
            assert meaning.startswith(found)
    assert len(table) == 3


@pytest.mark.parametrize(
    ("asked", "name", "text"),
    [
        ("final_newline = true", "a.csv", "a,b\n1,2"),
        ('trailer = "END"', "a.csv", "a,b\n1,2\n"),
        ('trailer = "END"', "a.csv", "a,b\n1,2\nEND,2\n"),
        ('count_key = "count"', "a.json", '{"count": 2, "rows": [{"a": "x"}]}'),
        ("min_rows = 1", "a.csv", "a,b\n"),
    ],
)
def test_an_incomplete_file_is_refused_with_the_words_of_the_table(asked, name, text):
    reasons = {code(key)[0]: code(words) for key, words in rows(SCHEMAS, "asked", "`reason` when it is not there")}
    schema = f'[columns.a]\ntype = "text"\n[columns.b]\ntype = "text"\n[completeness]\n{asked}\n'

    verdict, _ = judge(schema, text, name)

    assert verdict.problems[0].reason in reasons[asked]


def test_the_transformer_makes_the_rows_shown(monkeypatch, tmp_path):
    (tmp_path / "our_transforms.py").write_text(block(SCHEMAS, "Transformers", "python"))
    monkeypatch.syspath_prepend(tmp_path)

    _, loaded = judge(block(SCHEMAS, "Transformers", "toml"), "store_id,visitors\nN1,3\nS1,4\n")

    shown = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in block(SCHEMAS, "Transformers", "").splitlines()
        if line.startswith("│  ")
    ]
    assert [list(row) for row in loaded] == shown
