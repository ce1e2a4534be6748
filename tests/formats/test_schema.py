"""Schema files: what they may say, and how their mistakes are told."""

from __future__ import annotations

import json

import pytest

from conch_pipe.errors import Mistakes
from conch_pipe.formats.describe import describe, reference
from conch_pipe.formats.engine import prove_schema
from conch_pipe.formats.schema import SchemaBook, load_schema, parse_schema, shipped
from tests.formats.files import EVERYTHING, SALES, schema


@pytest.mark.parametrize("path", sorted(shipped().glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_schemas_are_right(path):
    found = load_schema(path)

    prove_schema(found)
    assert parse_schema(found.text, found.name) == found
    assert json.loads(json.dumps(describe(found)))["name"] == path.stem
    assert reference(found).count("\n| `") == len(found.columns)


def test_the_three_folders_of_the_source_are_shipped():
    assert sorted(path.stem for path in shipped().glob("*.toml")) == [
        "orgShifts",
        "orgTransactionDetail",
        "orgTransactions",
    ]


def test_a_schema_knows_the_columns_of_its_table():
    found = schema(SALES + '[derived.double]\ntype = "decimal(8,2)"\nsql = "amount * 2"')

    assert [(one.name, one.sql_type, one.required) for one in found.outputs] == [
        ("id", "BIGINT", True),
        ("amount", "DECIMAL(6,2)", False),
        ("note", "VARCHAR", False),
        ("double", "DECIMAL(8,2)", False),
    ]


def test_the_schema_with_everything_is_right():
    prove_schema(schema(EVERYTHING))


COLUMN = '[columns.a]\ntype = "text"\n'
MISTAKES = {
    "not TOML": ("a = ", "not TOML: Invalid value (at end of document)"),
    "no columns": ("", "columns: there are no columns"),
    "unknown key": ("colour = 1\n" + COLUMN, "line 1, colour: is not a key here"),
    "bad choice": ('on_bad_row = "x"\n' + COLUMN, 'line 1, on_bad_row: must be "reject_file" or "reject_row"'),
    "no type": ("[columns.a]\n", "line 1, columns.a.type: is not a type"),
    "unknown type": ('[columns.a]\ntype = "float"', "line 2, columns.a.type: is not a type"),
    "decimal": ('[columns.a]\ntype = "decimal(39,2)"', "line 2, columns.a.type: decimal(p,s) needs 1 to 38 digits"),
    "column's name": ('[columns."a b"]\ntype = "text"', "line 1, columns.a b: a column's name is"),
    "underscore": ('[columns._row]\ntype = "text"', "line 1, columns._row: a column's name is"),
    "unknown key of a column": (COLUMN + "requird = true", "line 3, columns.a.requird: is not a key here"),
    "key of another type": (COLUMN + "min = 1", "line 3, columns.a.min: a column of type text has no min"),
    "wrong kind": (COLUMN + 'required = "yes"', "line 3, columns.a.required: must be true or false"),
    "required and default": (COLUMN + 'required = true\ndefault = "x"', "a required column needs no default"),
    "min of another type": ('[columns.a]\ntype = "integer"\nmin = 1.5', "line 3, columns.a.min: not an integer"),
    "max below min": ('[columns.a]\ntype = "integer"\nmin = 5\nmax = 1', "line 4, columns.a.max: is less than min"),
    "default outside": ('[columns.a]\ntype = "integer"\nmax = 1\ndefault = 2', "breaks the column's own rules"),
    "default no value": ('[columns.a]\ntype = "enum"\nvalues = ["x"]\ndefault = "y"', "breaks the column's own rules"),
    "example": (COLUMN + 'pattern = "[A-Z]"\nexamples = ["a"]', "line 4, columns.a.examples: a breaks the column's"),
    "pattern": (COLUMN + 'pattern = "["', "line 3, columns.a.pattern: is not a regular expression"),
    "enum without values": ('[columns.a]\ntype = "enum"', "columns.a.values: an enum needs its values"),
    "zone": ('[columns.a]\ntype = "timestamp"\nzone = "Mars"', 'line 3, columns.a.zone: must be "required", "utc"'),
    "date": ('[columns.a]\ntype = "date"\nmin = "2026-02-30"', "line 3, columns.a.min: there is no such date"),
    "alias twice": (COLUMN + '[columns.b]\ntype = "text"\naliases = ["A"]', "line 3, columns.b: a is a name of a too"),
    "output twice": (COLUMN + '[columns.b]\ntype = "text"\nrename = "A"', "the table has a column A already"),
    "derived without": (COLUMN + '[derived.b]\ntype = "text"', "line 3, derived.b: needs sql"),
    "table": ('table = "a; drop"\n' + COLUMN, "line 1, table: is not a table name"),
    "python": (COLUMN + '[transform]\npython = "os.system"', 'must be like "package.module:function"'),
    "completeness": (COLUMN + "[completeness]\nmin_rows = -1", "line 4, completeness.min_rows: must be 0 or more"),
}


@pytest.mark.parametrize(("text", "words"), list(MISTAKES.values()), ids=list(MISTAKES))
def test_a_mistake_is_told_with_its_line_and_key(text, words):
    with pytest.raises(Mistakes) as raised:
        parse_schema(text, "sales")

    assert any(one.startswith(words) or words in one for one in raised.value.mistakes), raised.value.mistakes


def test_all_mistakes_are_told_at_once_in_order():
    text = 'title = 5\n[columns.a]\ntype = "x"\n[columns.b]\ntype = "text"\nmax_length = 0\n'

    with pytest.raises(Mistakes) as raised:
        parse_schema(text, "1st")

    assert [one.partition(":")[0] for one in raised.value.mistakes] == [
        "a schema's name is 1 to 64 letters, digits and _, beginning with a letter",
        "line 1, title",
        "line 3, columns.a.type",
        "line 6, columns.b.max_length",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SALES + '[derived.x]\ntype = "integer"\nsql = "nothing + 1"', "derived.x.sql: "),
        (SALES + '[derived.x]\ntype = "integer"\nsql = "(("', "derived.x.sql: "),
        (SALES + '[transform]\npython = "no.such:thing"', "transform.python: the transformer no.such:thing cannot"),
        ('[columns.a]\ntype = "text"\npattern = "(?=a)"', "columns.a: "),
    ],
)
def test_what_only_duckdb_can_tell_is_told_by_prove_schema(text, words):
    with pytest.raises(Mistakes) as raised:
        prove_schema(schema(text))

    assert raised.value.mistakes[0].startswith(words)


def test_a_book_keeps_the_last_good_schema(tmp_path):
    """A mistake in a file must not close a folder that partners use."""
    path = tmp_path / "sales.toml"
    path.write_text(SALES)
    book = SchemaBook(tmp_path)
    assert book.names() == []
    assert book.refresh()
    assert not book.refresh()
    good = book.get("sales")

    path.write_text("[columns.id]\ntype = 5\n")
    (tmp_path / "more.toml").write_text(SALES)
    with pytest.raises(Mistakes, match="sales.toml: line 2, columns.id.type"):
        book.refresh()

    assert book.get("sales") is good and book.text("sales") == SALES
    assert book.names() == ["more", "sales"]
    with pytest.raises(Mistakes):
        book.refresh()
    path.write_text(SALES + "# mended\n")
    assert book.refresh()
    path.unlink()
    assert book.refresh() and book.names() == ["more"] and book.text("sales") is None


def test_two_schemas_cannot_make_different_tables_of_one_name(tmp_path):
    (tmp_path / "a.toml").write_text('table = "t"\n' + SALES)
    (tmp_path / "b.toml").write_text('table = "T"\n[columns.other]\ntype = "text"\n')

    with pytest.raises(Mistakes, match="the table T of a has other columns"):
        SchemaBook(tmp_path).refresh()
