"""Problems beside the lines they are about: the right ones, and never more than a person reads."""

from __future__ import annotations

import json

import pytest

from conch_pipe.formats import passages as module
from conch_pipe.formats.passages import LONGEST, MOST, passages
from conch_pipe.model import Problem


def on(*lines: int | None) -> list[Problem]:
    return [Problem("bad", line=line) for line in lines]


def of(*rows: int | None) -> list[Problem]:
    return [Problem("bad", row=row) for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_is_found_by_its_number_however_lines_end(end):
    content = end.join(["id,name", "1,a", "2,b", "3,c"]).encode()

    assert passages(content, "a.csv", on(1, 3, 4, 2, 5)) == ("id,name", "2,b", "3,c", "1,a", None)


def test_problems_without_a_place_have_no_text():
    assert passages(b"id\n1\n", "a.csv", on(None, 2)) == (None, "1")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_the_same_wherever_the_file_is_cut_for_reading(monkeypatch, chunk, end):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    lines = ["id,name", "", "1,ștefan", "2,日本", "end"]

    found = passages(end.join(lines).encode(), "a.csv", on(1, 2, 3, 4, 5))

    assert found == tuple(lines)


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert passages(b"\xef\xbb\xbfid\n1", "a.csv", on(1)) == ("id",)


def test_a_long_line_is_shown_by_its_beginning(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 100)

    assert passages(b"id\n" + b"x" * 100_000 + b"\n2", "a.csv", on(2, 3)) == ("x" * LONGEST, "2")


def test_what_could_repaint_a_terminal_or_page_is_escaped():
    assert passages(b"id\n\x1b[2J\xff\n", "a.csv", on(2)) == ("\\x1b[2J\ufffd",)


def test_lines_far_down_are_found_and_those_beyond_the_bound_are_not(tmp_path, monkeypatch):
    file = tmp_path / "a.csv"
    file.write_bytes(b"id\n" + b"".join(b"%d\n" % number for number in range(300_000)))

    assert passages(file, "a.csv", on(250_000, 2)) == ("249998", "0")
    monkeypatch.setattr(module, "CSV_BYTES", 1000)
    monkeypatch.setattr(module, "_CHUNK", 500)
    assert passages(file, "a.csv", on(250_000, 2)) == (None, "0")


def test_only_so_many_are_looked_up():
    found = passages(b"x\n" * 1000, "a.csv", on(*range(1, 1000)))

    assert found.count("x") == MOST


@pytest.mark.parametrize("wrapper", ["", "data", "rows"])
def test_a_record_of_json_is_found_by_its_number(wrapper):
    records = [{"id": 1}, {"id": "β", "amount": 1.50}, 7]
    content = json.dumps({"count": 3, wrapper: records} if wrapper else records).encode()

    assert passages(content, "a.json", of(2, 1, 3, 4, None)) == (
        '{"id": "β", "amount": 1.5}',
        '{"id": 1}',
        "7",
        None,
        None,
    )


@pytest.mark.parametrize("content", [b"", b"{", b'[{"id": 1}, {"id"', b'"text"', b"[" * 5000])
def test_json_that_is_none_is_shown_as_far_as_it_goes(content):
    (first, second) = passages(content, "a.json", of(1, 2))

    assert second is None
    assert first == ('{"id": 1}' if b"id" in content else None)


def test_json_beyond_the_bound_is_not_parsed(monkeypatch):
    monkeypatch.setattr(module, "JSON_BYTES", 100)

    assert passages(json.dumps([{"id": one} for one in range(100)]).encode(), "a.json", of(1, 100)) == (
        '{"id": 0}',
        None,
    )
