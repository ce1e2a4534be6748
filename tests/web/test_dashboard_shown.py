"""Values as people read them: each with its unit, and never as a piece of a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from conch_pipe.web.dashboard.shown import NOTHING, away, count, counted, duration, size, text, time

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (102_348, "99.9 KiB"),
        (102_400, "100 KiB"),
        (104_857_600, "100 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 60, "1048576 TiB"),
        (None, NOTHING),
    ],
)
def test_sizes(number, shown):
    assert size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0084, "8 ms"),
        (0.9999, "1.0 s"),
        (59.9, "59.9 s"),
        (59.99, "1 min"),
        (200, "3 min 20 s"),
        (3599.9, "1 h"),
        (7500, "2 h 5 min"),
        (270_000, "3 d 3 h"),
        (None, NOTHING),
    ],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_counts():
    assert (count(1_234_567), counted(1, "row"), counted(2, "row"), counted(2, "this", "these")) == (
        "1,234,567", "1 row", "2 rows", "2 these",
    )  # fmt: skip


def test_a_time_is_utc_and_says_so_until_a_script_knows_better():
    kathmandu = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert time(kathmandu) == (
        '<time datetime="2026-11-21T09:30:00.000Z" title="2026-11-21 09:30:00 UTC">2026-11-21 09:30:00 UTC</time>'
    )
    assert time(None) == away(None, NOW) == NOTHING


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "now"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7300, "2 h ago"),
        (172_000, "47 h ago"),
        (172_900, "2 d ago"),
        (-90, "in 1 min"),
    ],
)
def test_how_far_a_moment_is(seconds, shown):
    assert f" data-away>{shown}</time>" in away(NOW - timedelta(seconds=seconds), NOW)


def test_what_a_partner_wrote_keeps_to_its_place():
    assert text("<b>\u202eé\x00") == r"<bdi>&lt;b&gt;\u202eé\x00</bdi>"
