"""Questions to the warehouse: exact answers, plain refusals."""

from __future__ import annotations

import json
from decimal import Decimal

import duckdb
import pytest

from conch_pipe.cli.warehouse import distinct

UPLOAD = "01935b2f-0000-7000-8000-000000000000"


@pytest.fixture
def loaded(installed):
    """A warehouse with one table."""
    with duckdb.connect(installed.state / "warehouse.duckdb") as connection:
        connection.execute(
            f"CREATE TABLE t AS SELECT 12345678901234567.10::DECIMAL(38,2) AS amount, '{UPLOAD}'::UUID AS _upload_id, "
            "'2026-11-21 12:00:00+00'::TIMESTAMPTZ AS at, DATE '2026-11-21' AS day, NULL AS nothing, 'é[b]' AS words"
        )
    return installed


def test_answers_are_exact(loaded):
    out = loaded.run("warehouse", "query", "SELECT * FROM t", "--json").out

    (row,) = json.loads(out, parse_float=Decimal)
    assert row == {
        "amount": Decimal("12345678901234567.10"),
        "_upload_id": UPLOAD,
        "at": "2026-11-21T12:00:00Z",
        "day": "2026-11-21",
        "nothing": None,
        "words": "é[b]",
    }


def test_people_see_a_table(loaded):
    out = loaded.run("warehouse", "query", "SELECT * FROM t").out

    assert "12345678901234567.10" in out and "é[b]" in out


def test_many_rows_are_cut_for_people_and_not_for_programs(loaded):
    sql = "SELECT range AS n FROM range(1001)"

    assert "the first 1000 rows" in loaded.run("warehouse", "query", sql).out
    assert len(loaded.json("warehouse", "query", sql)) == 1001
    assert len(loaded.json("warehouse", "query", sql, "--limit", "2")) == 2


@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere", "DROP TABLE t", "INSERT INTO t DEFAULT VALUES", "SELEC"])
def test_what_cannot_be_asked_is_refused(loaded, sql):
    assert loaded.json("warehouse", "query", sql, status=1)["error"]["code"] == "invalid"
    assert "Traceback" not in loaded.run("warehouse", "query", sql).err


def test_before_the_first_load_there_is_nothing_to_ask(installed):
    assert installed.json("warehouse", "query", "SELECT 1", status=3)["error"]["code"] == "not_found"


def test_equal_names_lose_no_value(loaded):
    assert loaded.json("warehouse", "query", "SELECT 1 AS a, 2 AS a") == [{"a": 1, "a_2": 2}]
    assert distinct(["a", "a_2", "a"]) == ["a", "a_2", "a_3"]
