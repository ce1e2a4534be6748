"""JSON that is exact, and tables that show what is there."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from conch_pipe.cli.output import Output, cell, dumps
from conch_pipe.model import Problem, State

UPLOAD = UUID("01935b2f-0000-7000-8000-000000000000")


def test_values_of_the_warehouse_are_exact():
    row = {
        "amount": Decimal("12345678901234567890.1200"),
        "tiny": Decimal("1E-10"),
        "at": datetime(2026, 11, 21, 12, tzinfo=UTC),
        "day": date(2026, 11, 21),
        "hour": time(9, 30),
        "id": UPLOAD,
        "raw": b"\x00\xff",
        "not a number": float("nan"),
        "odd": Decimal("NaN"),
        "big": 2**100,
        "state": State.FAILED,
        "problem": Problem("empty", 3),
        "none": None,
        "list": [],
        "object": {},
    }

    text = dumps([row])

    assert '"amount": 12345678901234567890.1200' in text
    assert '"tiny": 0.0000000001' in text
    read = json.loads(text, parse_float=Decimal)[0]
    assert read["amount"] == row["amount"]
    assert (read["at"], read["day"], read["hour"]) == ("2026-11-21T12:00:00Z", "2026-11-21", "09:30:00")
    assert (read["id"], read["raw"], read["not a number"], read["odd"]) == (str(UPLOAD), "00ff", "nan", "NaN")
    assert (read["big"], read["state"], read["problem"]["line"]) == (2**100, "FAILED", 3)
    assert (read["none"], read["list"], read["object"]) == (None, [], {})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_every_document_reads_back(value):
    assert json.loads(dumps(value), parse_float=Decimal, parse_int=Decimal) == value


def test_cells_show_no_control_characters_and_no_markup(capsys):
    Output().table(("a", "b"), [("[red]x\x1b[0m\r", Decimal("1.50")), (None, True)])

    shown = capsys.readouterr().out
    assert "[red]x\\x1b[0m\\r" in shown
    assert "1.50" in shown and "yes" in shown
    assert "\x1b" not in shown


def test_cells_are_short_and_plain():
    assert cell(datetime(2026, 11, 21, 9, 30, 5, 123, tzinfo=UTC)) == "2026-11-21 09:30:05"
    assert cell(["a", "b"]) == "a, b"
    assert cell({"a": 1}) == '{"a": 1}'
    assert cell(False) == "no"


def test_people_and_programs_get_one_or_the_other(capsys):
    programs, people = Output(as_json=True), Output()

    programs.say("words")
    programs.table(("a",), [(1,)])
    programs.facts([("a", 1)])
    people.document({"a": 1})
    people.table(("a",), [], empty="no rows")

    assert capsys.readouterr().out == "no rows\n"


def test_a_failure_goes_to_the_errors_for_people_and_to_the_document_for_programs(capsys):
    Output().error("busy", "try again")
    Output(as_json=True).error("settings", "two mistakes", ["a", "b"])

    shown = capsys.readouterr()
    assert shown.err == "conch-pipe: try again\n"
    assert json.loads(shown.out) == {"error": {"code": "settings", "message": "two mistakes", "mistakes": ["a", "b"]}}
