"""The quick checks at CLOSE: what they refuse, and that they never refuse what the full check takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.quick import HEAD, check_ends, check_name
from conch_pipe.formats.sample import sample
from conch_pipe.formats.schema import load_schema, shipped
from tests.formats.files import SALES, judge, schema
from tests.formats.test_corpus import ENCODING, HEADER, JSON, SHAPE

DOSE = int(os.environ.get("PIPE_DOSE", "1"))


def ends(name: str, data: bytes | str, wanted=None) -> None:
    data = data.encode() if isinstance(data, str) else data
    check_ends(name, data[:HEAD], data[-HEAD:], len(data), wanted or schema())


def refusal(name: str, data: bytes | str, wanted=None) -> tuple[Code, str]:
    with pytest.raises(PipeError) as raised:
        ends(name, data, wanted)
    assert raised.value.message.isascii() and raised.value.message.isprintable()
    assert len(raised.value.message) <= 200
    return raised.value.code, raised.value.message


def test_the_service_can_use_it_without_duckdb():
    """The service's process must never load DuckDB or ijson."""
    modules = "conch_pipe.formats." + ", conch_pipe.formats.".join(
        ("schema", "quick", "naming", "sample", "verdicts", "describe")
    )

    code = f"import sys, {modules}; sys.exit(bool(set(sys.modules) & {{'duckdb', 'ijson', '_duckdb'}}))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("name", "form"), [("a.csv", "csv"), ("A.CSV", "csv"), ("x.y.Json", "json")])
def test_names_promise_a_format(name, form):
    assert check_name(name) == form


@pytest.mark.parametrize("name", ["a", "a.xlsx", "csv", "a.csv.gz", "a.csv ", ".jsonl", "a.json5"])
def test_other_names_are_refused(name):
    with pytest.raises(PipeError, match="use .csv or .json") as raised:
        check_name(name)
    assert raised.value.code is Code.INVALID


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("a.csv", b"", Code.BAD_FILE, "the file is empty"),
        ("a.json", b"\xef\xbb\xbf", Code.BAD_FILE, "the file is empty"),
        ("a.csv", b"\x1f\x8b\x08\0", Code.BAD_FILE, "the file is compressed (gzip), send it as it is"),
        (
            "a.csv",
            b"\xe9,",
            Code.BAD_FILE,
            "byte 1 of the file (0xE9) is not UTF-8, save the file as UTF-8",
        ),
        ("a.csv", b"amount\n1\n", Code.BAD_FILE, "the column id is missing"),
        ("a.csv", "id,\u00e9\n1,2\n", Code.BAD_FILE, "the column \\xe9 is not known"),
        ("a.csv", b"id,note\n1,x\n2", Code.INCOMPLETE, "the file was cut: the last line has 1 of 2 columns"),
        ("a.json", b'[{"id": 1}', Code.INCOMPLETE, "the file was cut: it does not end with ]"),
        ("a.json", b'{"data": []', Code.INCOMPLETE, "the file was cut: it does not end with }"),
        ("a.json", b"id,note\n", Code.BAD_FILE, "a JSON file must be an array of objects, or an object with one"),
    ],
)
def test_what_cannot_be_right_is_refused_at_close(name, data, code, words):
    assert refusal(name, data) == (code, words)


def test_a_character_cut_by_the_block_is_no_mistake():
    """The first 64 KiB may end anywhere in a character."""
    head = "id,note\n1,x\n"
    for shift in range(4):
        ends("a.csv", head + "2," + "a" * shift + "\U0001f6d2" * HEAD + "\n")


def test_a_file_larger_than_both_blocks_is_judged_by_its_ends():
    ends("a.csv", "id,note\n" + "1,x\n" * HEAD)
    assert refusal("a.csv", "id,note\n" + "1,x\n" * HEAD + "2")[0] is Code.INCOMPLETE


def test_a_schema_can_ask_for_a_final_newline_and_a_trailer():
    newline = schema(SALES + "[completeness]\nfinal_newline = true")
    trailer = schema(SALES + '[completeness]\ntrailer = "END"')

    ends("a.csv", "id\n1\n", newline)
    ends("a.csv", "id,note\n1,x\nEND,1\n", trailer)

    assert refusal("a.csv", "id\n1", newline)[0] is Code.INCOMPLETE
    assert refusal("a.csv", "id,note\n1,x\n", trailer)[0] is Code.INCOMPLETE


@pytest.mark.parametrize("name", [path.stem for path in sorted(shipped().glob("*.toml"))])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_samples_pass(name, form):
    wanted = load_schema(shipped() / f"{name}.toml")

    ends(f"a.{form}", sample(wanted, 500, form), wanted)


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.csv", data) for data, expected in (ENCODING | HEADER | SHAPE).values() if not expected]
    + [("a.json", data) for data, expected in JSON.values() if not expected],
)
def test_what_the_corpus_accepts_passes(name, data):
    ends(name, data)


PIECES = ["1", "x", ",", ",", "\n", "\n", "\r\n", "\r", '"', '""', " ", "END,1", "id", "note", "\ufeff", "é"]
JSON_PIECES = ["[", "]", "{", "}", '"id"', ":", "1", ",", " ", "\n", '"data"', "null", '{"id":1}', "\ufeff"]


@pytest.mark.parametrize(("form", "pieces"), [("csv", PIECES), ("json", JSON_PIECES)])
@pytest.mark.parametrize("top", ["", 'on_bad_row = "reject_row"'])
@pytest.mark.parametrize("tail", ["", '[completeness]\ntrailer = "END"', "[completeness]\nfinal_newline = true"])
def test_what_the_check_accepts_was_not_refused_at_close(form, pieces, top, tail, tmp_path):
    """Also when only a few bytes of either end are looked at."""
    wanted = schema(f'[columns.id]\ntype = "text"\n[columns.note]\ntype = "text"\n{tail}', top=top)

    @settings(max_examples=10 * DOSE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.sampled_from(pieces), max_size=12).map("".join), st.integers(16, 40))
    def agree(body, block):
        data = (body if form == "json" else "id,note\n" + body).encode()
        try:
            check_ends(f"a.{form}", data[:block], data[-block:], len(data), wanted)
        except PipeError:
            assert not judge(tmp_path, data, wanted, name=f"a.{form}").accepted

    agree()
