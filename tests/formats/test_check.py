"""The full check: what it writes, its options, its limits."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import duckdb
import pytest

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats import csv_text, engine
from conch_pipe.formats.check import check, check_file
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.sample import parts, sample
from conch_pipe.formats.schema import load_schema, shipped
from conch_pipe.formats.verdicts import from_json
from tests.formats.files import SALES, judge, rows, schema, told

SHIPPED = sorted(path.stem for path in shipped().glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("form", ["csv", "json"])
def test_samples_are_accepted_and_both_forms_are_the_same_rows(name, form, tmp_path):
    wanted = load_schema(shipped() / f"{name}.toml")

    verdict = judge(tmp_path, sample(wanted, 400, form), wanted, name=f"a.{form}")
    written = rows(tmp_path, "columns(*)::VARCHAR")
    judge(tmp_path, sample(wanted, 400), wanted)

    assert (told(verdict), verdict.rows) == ([], 400)
    assert written == rows(tmp_path, "columns(*)::VARCHAR")


def test_a_sample_is_the_same_for_the_same_seed():
    wanted = load_schema(shipped() / "orgShifts.toml")

    assert sample(wanted, 50, seed=7) == sample(wanted, 50, seed=7) != sample(wanted, 50, seed=8)
    assert "".join(parts(wanted, 50, "json", 7)) == sample(wanted, 50, "json", 7)


@pytest.mark.parametrize("name", SHIPPED)
def test_samples_go_the_fast_way(name, tmp_path, monkeypatch):
    """Otherwise benches would measure the slow one."""
    wanted = load_schema(shipped() / f"{name}.toml")
    monkeypatch.setattr(csv_text, "canonical", None)

    assert judge(tmp_path, sample(wanted, 2000), wanted).rows == 2000


def test_a_worker_is_called_with_json_values(tmp_path):
    path, parquet = tmp_path / "raw", tmp_path / "rows.parquet"
    path.write_bytes(b"id,amount\n1,2.50\n")
    arguments = {
        "schema_text": SALES,
        "schema_name": "sales",
        "path": str(path),
        "name": "Sales.CSV",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "parquet": str(parquet),
        "limits": {"memory": "200MB", "threads": 1, "cpu_s": 5},
    }

    found = json.loads(json.dumps(check_file(json.loads(json.dumps(arguments)))))

    assert from_json(found).rows == 1
    assert rows(tmp_path) == [(1, 1, Decimal("2.50"), None)]


def test_a_damaged_copy_is_a_conflict_not_a_verdict(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id\n1\n")

    with pytest.raises(PipeError, match="stored copy damaged") as raised:
        check(schema(), tmp_path / "a.csv", sha256="0" * 64)

    assert raised.value.code is Code.CONFLICT


def test_whole_file_or_nothing_unless_the_schema_says_otherwise(tmp_path):
    data = 'id,amount,note\n1,2,x\nx,y,z\n2\n3,4,"bad"q\n5,6,w\n'
    row = schema(top='on_bad_row = "reject_row"')

    strict = judge(tmp_path, data)
    assert (strict.accepted, strict.rows, strict.problem_count) == (False, 0, 4)
    assert not (tmp_path / "rows.parquet").exists()

    loose = judge(tmp_path, data, row)
    assert (loose.accepted, loose.rows, loose.rejected, loose.problem_count) == (True, 2, 3, 4)
    assert loose.problems == strict.problems
    assert rows(tmp_path, "_row, id") == [(1, 1), (5, 5)]


def test_json_can_leave_out_bad_rows_too(tmp_path):
    data = '[{"id": 1}, {"id": 2, "id": 3}, 5, {"id": "x"}, {"id": 4}]'

    verdict = judge(tmp_path, data, schema(top='on_bad_row = "reject_row"'), name="a.json")

    assert (verdict.rows, verdict.rejected) == (2, 3)
    assert rows(tmp_path, "_row, id") == [(1, 1), (5, 4)]


def test_a_file_of_bad_rows_only_is_refused(tmp_path):
    verdict = judge(tmp_path, "id\nx\ny\n", schema(top='on_bad_row = "reject_row"'))

    assert told(verdict)[0] == "-/-: none of the 2 rows is good"
    assert not verdict.accepted


def test_a_cut_file_is_refused_even_where_bad_rows_are_left_out(tmp_path):
    verdict = judge(tmp_path, "id,note\n1,x\n2", schema(top='on_bad_row = "reject_row"'))

    assert told(verdict) == ["3/-: the file was cut: the last line has 1 of 2 columns"]


def test_the_first_hundred_problems_are_kept_and_all_are_counted(tmp_path):
    verdict = judge(tmp_path, "id,amount\n" + "x,y\n" * 500 + "1\n" * 500)

    assert (len(verdict.problems), verdict.problem_count) == (100, 1500)
    assert told(verdict)[:3] == [
        "2/1 id: not an integer [x]",
        "2/1 amount: not a number [y]",
        "3/2 id: not an integer [x]",
    ]
    assert told(verdict)[99] == "51/50 amount: not a number [y]"


def test_problems_call_columns_as_the_file_does(tmp_path):
    """Who wrote the file looks for the name in it, not for ours."""
    assert told(judge(tmp_path, "Sale ID,AMOUNT\nx,y\n")) == [
        "2/1 Sale ID: not an integer [x]",
        "2/1 AMOUNT: not a number [y]",
    ]


def test_values_are_shown_short_and_harmless(tmp_path):
    verdict = judge(tmp_path, "id\n\x1b[2J\u202e" + "9" * 200 + "\n")

    (problem,) = verdict.problems
    assert problem.value == "\\x1b[2J\\u202e" + "9" * 67
    assert len(problem.value) <= 80


@pytest.mark.parametrize("threads", [1, 2])
def test_verdicts_do_not_depend_on_threads(threads, tmp_path):
    data = "id,amount\n" + "".join(f"{n},{n % 9}.5\n" if n % 997 else f"{n},x\n" for n in range(1, 30_000))

    verdict = judge(tmp_path, data, schema(top='on_bad_row = "reject_row"'), threads=threads)

    assert (verdict.rows, verdict.rejected) == (29_969, 30)
    assert [one.row for one in verdict.problems] == [997 * n for n in range(1, 31)]
    assert [one.line for one in verdict.problems] == [997 * n + 1 for n in range(1, 31)]
    written = [row for (row,) in rows(tmp_path, "_row")]
    assert written == [n for n in range(1, 30_000) if n % 997]


@pytest.mark.parametrize("threads", [1, 2])
def test_record_numbers_of_a_good_file_follow_the_file(threads, tmp_path):
    """Rows of a file read in parallel, in several blocks of 8 MiB, come in the file's order."""
    data = "id,note\n" + "".join(f"{n},{'x' * (80 + n % 20)}\n" for n in range(1, 200_001))

    wide = schema('[columns.id]\ntype = "integer"\n[columns.note]\ntype = "text"')
    assert judge(tmp_path, data, wide, threads=threads).rows == 200_000
    assert rows(tmp_path, "count(*)")[0] == (200_000,)
    assert rows(tmp_path, "count(*) FILTER (_row <> id)")[0] == (0,)


def test_empty_and_absent_differ_in_json_only(tmp_path):
    """In CSV an empty cell is no value, quoted or not; in JSON "" is an empty text."""
    judge(tmp_path, 'id,note\n1,\n2,""\n')
    assert rows(tmp_path, "note") == [(None,), (None,)]

    judge(tmp_path, '[{"id": 1}, {"id": 2, "note": null}, {"id": 3, "note": ""}]', name="a.json")
    assert rows(tmp_path, "note") == [(None,), (None,), ("",)]


def test_json_text_arrives_as_it_was(tmp_path):
    text = 'a "b", c\r\nd\te \\ é \U0001f6d2 \u2028'

    judge(tmp_path, json.dumps([{"a": text}]), schema('[columns.a]\ntype = "text"'), name="a.json")

    assert rows(tmp_path, "a") == [(text,)]


def test_renamed_defaulted_and_derived_columns(tmp_path):
    wanted = schema(
        '[columns.a]\ntype = "integer"\nrename = "b"\n[columns.c]\ntype = "decimal(4,1)"\ndefault = 1.5\n'
        '[derived.d]\ntype = "decimal(8,2)"\nsql = "a * c"\n[derived.e]\ntype = "text"\nsql = "\'{}\' || a"'
    )

    judge(tmp_path, "a,c\n2,\n3,2\n", wanted)

    assert rows(tmp_path) == [
        (1, 2, Decimal("1.5"), Decimal("3.00"), "{}2"),
        (2, 3, Decimal("2.0"), Decimal("6.00"), "{}3"),
    ]


def test_a_derived_column_that_cannot_be_computed_refuses_the_file(tmp_path):
    wanted = schema('[columns.a]\ntype = "integer"\n[derived.b]\ntype = "decimal(2,0)"\nsql = "a"')

    verdict = judge(tmp_path, "a\n5\n500\n", wanted)

    assert not verdict.accepted
    assert told(verdict)[0].startswith("-/-: the derived columns cannot be computed: Conversion Error")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("id,note\n1,x\n2,y\nEND,2\n", []),
        ("id,note\n1,x\nEND,1,,\n", []),
        ("id,note\nEND,0", []),
        ("id,note\n1,x\n2,y\nEND,3\n", ["-/-: the last line says 3 rows, the file has 2"]),
        ("id,note\n1,x\nEND\n", ["-/-: the last line says nothing rows, the file has 1"]),
        ("id,note\n1,x\n", ["-/-: the file was cut: the last line must be END and the number of rows"]),
    ],
)
def test_a_trailer_counts_the_rows(data, expected, tmp_path):
    wanted = schema('[columns.id]\ntype = "integer"\n[columns.note]\ntype = "text"\n[completeness]\ntrailer = "END"')

    assert told(judge(tmp_path, data, wanted)) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"count": 1, "data": [{"id": 1}]}', []),
        ('{"data": [{"id": 1}], "count": 1}', []),
        ('{"data": [{"id": 1}], "count": 2}', ["-/1: the file says 2 under count, it has 1 records"]),
        ('[{"id": 1}]', ["-/1: the file says None under count, it has 1 records"]),
    ],
)
def test_a_count_in_json_counts_the_records(data, expected, tmp_path):
    wanted = schema(SALES + '[completeness]\ncount_key = "count"')

    assert told(judge(tmp_path, data, wanted, name="a.json")) == expected


def test_a_schema_can_ask_for_rows_and_a_final_newline(tmp_path):
    wanted = schema(SALES + "[completeness]\nmin_rows = 1\nfinal_newline = true")

    assert told(judge(tmp_path, "id\n", wanted)) == ["-/-: the file has 0 rows, at least 1 are expected"]
    assert told(judge(tmp_path, "id\n1", wanted)) == ["-/-: the file was cut: it does not end with a line break"]
    assert told(judge(tmp_path, "id\n1\n", wanted)) == []


def test_limits_on_rows_hold_for_both_forms(tmp_path):
    said = "there are more than 3 rows, split the file"

    assert judge(tmp_path, "id\n1\n2\n3\n", rows=3).rows == 3
    assert told(judge(tmp_path, "id,note\n1,\n2,\n3,\n4,\n", rows=3)) == [f"5/-: {said}"]
    assert told(judge(tmp_path, '[{"id":1},{"id":1},{"id":1},{"id":1}]', name="a.json", rows=3)) == [f"-/4: {said}"]


def test_a_crlf_file_has_all_its_rows(tmp_path):
    """With new_line set, DuckDB read none of them and said nothing."""
    data = "id,note\r\n" + '1,"a\nb"\r\n' * 3000

    assert judge(tmp_path, data).rows == 3000


def test_a_bare_cr_in_a_cell_survives_the_slow_way(tmp_path):
    """CPython's writer leaves it unquoted when told to end lines with LF."""
    judge(tmp_path, 'id,note\n1,"a\rb"\n', name="a[1].csv")

    assert rows(tmp_path, "note") == [("a\rb",)]


def test_duckdb_cannot_reach_other_files_or_load_extensions(tmp_path):
    """SQL of a schema runs beside a partner's data, and nowhere else."""
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with engine.connected(Limits(), tmp_path, tmp_path / "a.csv") as connection:
        for sql in (
            f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "SET memory_limit = '10GB'",
            f"ATTACH '{tmp_path}/x.duckdb'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


def transform_keeps_large(relation):
    """Used by the schema of the tests below."""
    return relation.filter("id > 1").project("* REPLACE (upper(note) AS note, id * 10 AS extra)")


def transform_forgets(relation):
    return relation.project("_row, id")


def transform_refuses(relation):
    raise PipeError(Code.BAD_FILE, "two shops in one file")


def with_python(function: str):
    return schema(
        SALES + f'[derived.extra]\ntype = "integer"\n[transform]\npython = "tests.formats.test_check:{function}"'
    )


@pytest.mark.parametrize("name", ["a.csv", "a[1].csv"])
def test_a_python_transformer_changes_the_rows(name, tmp_path):
    verdict = judge(tmp_path, "id,note\n1,a\n2,b\n3,c\n", with_python("transform_keeps_large"), name=name)

    assert verdict.rows == 2
    assert rows(tmp_path, "_row, id, note, extra") == [(2, 2, "B", 20), (3, 3, "C", 30)]


def test_a_python_transformer_can_refuse_the_file(tmp_path):
    verdict = judge(tmp_path, "id,note\n1,x\n", with_python("transform_refuses"))

    assert told(verdict) == ["-/-: two shops in one file"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("transform_forgets", "the transformer of sales does not return amount, note, extra"),
        ("no_such_function", "the transformer tests.formats.test_check:no_such_function cannot be loaded"),
    ],
)
def test_a_wrong_transformer_is_our_fault(function, words, tmp_path):
    with pytest.raises(PipeError) as raised:
        judge(tmp_path, "id,note\n1,x\n", with_python(function))

    assert (raised.value.code, raised.value.message) == (Code.FAILED, words)
    assert not (tmp_path / "rows.parquet").exists()
