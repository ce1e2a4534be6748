"""DuckDB's fast proof and Python's reader must never disagree about what a file means."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.formats.files import judge, rows, schema, told

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
ONE_TEXT = '[columns.a]\ntype = "text"'
TEXTS = '[columns.a]\ntype = "text"\n[columns.b]\ntype = "text"'
PIECES = ["a", "b", ",", ",", "\n", "\n", "\r\n", "\r", '"', '"', '""', " ", "\t", "\\", "#", "é", "\ufeff", "'", ";"]


@pytest.mark.parametrize(
    ("header", "text"), [("a,b\n", TEXTS), ("a\n", ONE_TEXT), ("x,b,a\r\n", TEXTS), ('"a","b"\n', TEXTS)]
)
def test_the_fast_proof_and_the_reader_agree(header, text, tmp_path):
    """Any bytes at all; the path with a bracket cannot take the fast way."""
    wanted = schema(text, top='unknown_columns = "ignore"')

    @settings(max_examples=12 * DOSE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
    @example("a,b\n\n\nc,d\n")
    @example('"a""",b\n"x\ny",z')
    @example('a"b,c\n')
    @example(' "a",b\n')
    @example('"a" ,b\n')
    @example('a,"b\n')
    @example('a,""b""\n')
    @example(" \n")
    @example('""\n')
    @example("a,b\\\n")
    @example("a,b,\n")
    @example(",,\n")
    @example(",")
    @example("a,b,")
    def agree(body):
        fast = judge(tmp_path, header + body, wanted)
        fast_rows = rows(tmp_path) if fast.accepted else None
        slow = judge(tmp_path, header + body, wanted, name="a[1].csv")
        slow_rows = rows(tmp_path) if slow.accepted else None

        assert (told(fast), fast.rows) == (told(slow), slow.rows)
        assert fast_rows == slow_rows

    agree()
