"""The check against a plain reading of the rules in Python: the same rows, the same refusals, exact values."""

# Naive times are what is tested here.
# ruff: noqa: DTZ001

from __future__ import annotations

import csv
import io
import json
import os
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.files import EVERYTHING, judge, rows, schema

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
NAMES = ["t", "p", "i", "d", "b", "day", "at", "utc", "local", "e"]
WANTED = schema(EVERYTHING, top='on_bad_row = "reject_row"')
ZONE = ZoneInfo("Europe/Bucharest")
TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6}0*)?)?(Z|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)?"


class Bad(Exception):
    """The cell is refused."""


def need(condition):
    if not condition:
        raise Bad


def moment(text, naive):
    found = re.fullmatch(TIME, text, re.ASCII)
    need(found)
    text = re.sub(r"(\.\d{6})0+", r"\1", text)
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise Bad from None
    if value.tzinfo is None:
        value = naive(value)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise Bad from None


def local(value):
    """The second of two, and none that the clocks skip."""
    there = [value.replace(tzinfo=ZONE, fold=fold).astimezone(UTC) for fold in (1, 0)]
    fits = [one for one in there if one.astimezone(ZONE).replace(tzinfo=None) == value]
    need(fits)
    return fits[0]


def refuse(value):
    raise Bad


def cell(name, text):
    """The value of one CSV cell, by the rules as they are documented."""
    if name == "t":
        need(len(text) <= 12)
        return text or None
    text = text.strip(" \u00a0")
    if not text:
        return "A" if name == "e" else None
    if name == "p":
        need(re.fullmatch("[a-z]+", text))
        return text
    if name == "i":
        need(re.fullmatch("[+-]?[0-9]+", text) and -5 <= int(text) < 2**63)
        return int(text)
    if name == "d":
        need(re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text))
        value = Decimal(text)
        need(value == round(value, 3) and value <= Decimal("5000.5") and value > -10000)
        return value
    if name == "b":
        need(text.lower() in ("true", "1", "yes", "false", "0", "no"))
        return text.lower() in ("true", "1", "yes")
    if name == "day":
        need(re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text))
        try:
            value = date.fromisoformat(text)
        except ValueError:
            raise Bad from None
        need(value >= date(1900, 1, 1))
        return value
    if name == "e":
        need(text in ("A", "b", "c d"))
        return text
    return moment(text, {"at": refuse, "utc": lambda one: one.replace(tzinfo=UTC), "local": local}[name])


def expected(records):
    good = []
    for number, record in enumerate(records, 1):
        try:
            good.append((number, *(cell(name, text) for name, text in zip(NAMES, record, strict=True))))
        except Bad:
            continue
    return good


def written(folder):
    """Times as microseconds since 1970: fetching them as they are needs pytz."""
    times = ", ".join(f'epoch_us("{name}")' for name in ("at", "utc", "local"))
    found = rows(folder, f"_row, t, p, i, d, b, day, {times}, e")
    since = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        (*row[:7], *(None if one is None else since + timedelta(microseconds=one) for one in row[7:10]), row[10])
        for row in found
    ]


def mostly(good, *bad):
    """Good values three times out of four."""
    return st.one_of(good, good, good, st.sampled_from(bad))


numbers = st.integers(-5, 2**63 - 1).map(str)
decimals = st.decimals("-9999.999", "5000.5", places=3).map(str)
days = st.dates(date(1900, 1, 1)).map(str)
clock = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1))
naive = st.builds(lambda one, form: one.isoformat(form), clock, st.sampled_from("T "))
autumn = st.integers(0, 300).map(lambda n: str(datetime(2026, 10, 25, 1) + timedelta(minutes=n)))
spring = st.integers(0, 300).map(lambda n: str(datetime(2026, 3, 29, 1) + timedelta(minutes=n)))
aware = st.builds(str.__add__, naive, st.sampled_from(["Z", "+02:00", "-0530", "+14", "-00:01"]))
RECORDS = st.lists(
    st.tuples(
        mostly(st.text(st.sampled_from('ab ,"\n\r\té\U0001f6d2'), max_size=12), "x" * 13),
        mostly(st.sampled_from(["a", " abc ", "z" * 30, ""]), "A", "a1", "\u00a0a", "a\n"),
        mostly(numbers, "-6", str(2**63), "1.0", " 5", "+5", "", "1e3", "NaN"),
        mostly(decimals, "5000.501", "-10000", "1.2345", "1.23400", ".5", "5.", "1e2", "", "Infinity", "1,5"),
        mostly(st.sampled_from(["true", "FALSE", "Yes", "0", ""]), "2", "y", "t"),
        mostly(days, "1899-12-31", "2026-02-29", "2026-1-1", "", "0000-01-01", "epoch"),
        mostly(aware, "", "2026-02-28T10:00", "2026-02-30T10:00Z", "2026-02-28 10:00:00.1234567Z", "now"),
        mostly(st.one_of(aware, naive), "", "2026-02-28", "24:00"),
        mostly(st.one_of(aware, naive, autumn, spring), "", "2026-03-29 03:00", "2026-10-25T03:59:59.999999"),
        mostly(st.sampled_from(["A", "b", " c d ", ""]), "a", "B"),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_rows_are_those_of_the_reference(end, tmp_path):
    @settings(max_examples=25 * DOSE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(RECORDS)
    def agree(records):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([NAMES, *records])

        verdict = judge(tmp_path, text.getvalue(), WANTED)

        good = expected(records)
        assert verdict.rows == len(good)
        assert verdict.accepted == bool(good)
        if good:
            assert verdict.rejected == len(records) - len(good)
            assert written(tmp_path) == good

    agree()


def test_json_rows_are_those_of_the_reference(tmp_path):
    """As text or, where JSON can say so, as numbers."""

    @settings(max_examples=25 * DOSE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(RECORDS, st.booleans())
    def agree(records, numeric):
        def value(name, text):
            number = numeric and name in "id" and re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", text)
            return text if number else json.dumps(text if text else None)

        objects = (
            "{" + ",".join(f'"{name}":{value(name, text)}' for name, text in zip(NAMES, record, strict=True)) + "}"
            for record in records
        )
        verdict = judge(tmp_path, "[" + ",".join(objects) + "]", WANTED, name="a.json")

        good = expected(records)
        assert verdict.rows == len(good)
        if good:
            assert written(tmp_path) == good

    agree()
