"""Dates of attempts and purges, as tables and as laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_pipe.processing import attempts

SAVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UID = UUID(int=7)
MOMENTS = st.integers(0, 15 * 366 * 86_400).map(lambda seconds: SAVED + timedelta(seconds=seconds))
UIDS = st.uuids()

# h:mm after the recording was saved, and the seconds of jitter there are at most (exclusive)
TABLE = [
    ("0:00", 0),
    ("0:02", 6),
    ("0:07", 15),
    ("0:17", 30),
    ("0:32", 45),
    ("1:02", 90),
    ("2:02", 120),
    ("4:02", 120),
    ("8:02", 120),
    ("14:02", 120),
    ("26:02", 120),
    ("50:02", 120),
    ("74:02", 120),
]


@pytest.mark.parametrize(("number", "row"), list(enumerate(TABLE, 1)))
def test_an_attempt_has_its_instant_and_its_window(number, row):
    hours, minutes = map(int, row[0].split(":"))
    nominal = timedelta(hours=hours, minutes=minutes)

    seen = {attempts.due(number, SAVED, UUID(int=one), "dock") - SAVED - nominal for one in range(3000)}

    assert min(seen) == timedelta(0)
    assert max(seen) == timedelta(seconds=max(0, row[1] - 1))


def test_there_are_thirteen():
    assert attempts.ATTEMPTS == len(TABLE) == 13
    assert [attempts.left(made) for made in (0, 12, 13, 14)] == [13, 1, 0, 0]


@given(uid=UIDS, saved=MOMENTS)
def test_the_last_attempt_begins_within_75_hours_and_the_others_before_it(uid, saved):
    moments = [attempts.due(number, saved, uid, "dock") for number in range(1, 14)]

    assert moments == sorted(set(moments))
    assert moments[-1] < attempts.ends_at(saved) == saved + timedelta(hours=75)


def test_the_second_is_the_same_today_tomorrow_and_on_every_machine():
    """It is in logs and in what customers are told: a change of the formula moves attempts that are waited for."""
    found = [attempts.jitter_s(number, UID, "dock") for number in range(1, 14)]

    assert found == FIXED
    assert found != [attempts.jitter_s(number, UID, "harbour") for number in range(1, 14)]


FIXED = [0, 4, 4, 14, 22, 42, 41, 56, 44, 3, 35, 69, 54]


@given(uid=UIDS, number=st.integers(2, 13), took_s=st.floats(0, 80 * 3600))
def test_an_attempt_is_never_early_and_rests_after_one_that_took_long(uid, number, took_s):
    ended = SAVED + attempts.NOMINAL[number - 2] + timedelta(seconds=took_s)

    moment = attempts.due(number, SAVED, uid, "dock", ended)

    gap = attempts.NOMINAL[number - 1] - attempts.NOMINAL[number - 2]
    assert moment >= attempts.instant(number, SAVED, uid, "dock")
    assert moment >= ended + min(gap / 2, timedelta(minutes=5))
    assert moment <= max(attempts.instant(number, SAVED, uid, "dock"), ended + timedelta(minutes=5))


@given(uid=UIDS, away_s=st.floats(0, 200 * 3600))
def test_what_was_missed_is_made_soon_after_the_start_and_spread(uid, away_s):
    up = SAVED + timedelta(seconds=away_s)

    moment = attempts.start(SAVED, up, uid, "dock")

    assert up <= moment <= up + timedelta(seconds=min(600, away_s))


def test_a_restart_of_five_seconds_delays_nobody_by_more():
    up = SAVED + timedelta(seconds=5)

    moments = [attempts.start(SAVED, up, UUID(int=one), "dock") for one in range(100)]

    assert max(moments) <= up + timedelta(seconds=5)
    assert len(set(moments)) > 50


def test_restarts_again_and_again_leave_no_recording_behind():
    """A service that lives for two minutes at a time: whoever was late in one of them is not in all."""
    never = [
        one
        for one in range(100)
        if all(
            attempts.start(SAVED, up, UUID(int=one), "dock") > up + timedelta(minutes=2)
            for up in (SAVED + timedelta(hours=1, minutes=2 * number) for number in range(60))
        )
    ]

    assert never == []


def test_what_is_still_to_come_stays_when_it_was():
    assert attempts.start(SAVED, SAVED, UID, "dock") == SAVED


BUCHAREST = ZoneInfo("Europe/Bucharest")


@pytest.mark.parametrize(
    ("given_up", "hours"),
    [
        ("2026-01-10 12:00", 672),
        ("2026-03-15 12:00", 672),  # 671 by the clock on the wall: the hour that is skipped is given back
        ("2026-10-10 12:00", 673),  # the hour that comes twice counts twice
        ("2026-03-01 03:30", 672),  # to 29 March 03:30, which does not exist: 04:30 there
        ("2026-09-27 03:30", 673),  # to 25 October 03:30, which exists twice: the second
        ("2026-09-27 02:59", 672),
    ],
)
def test_files_are_kept_for_28_days_of_romanian_time(given_up, hours):
    moment = datetime.fromisoformat(given_up).replace(tzinfo=BUCHAREST).astimezone(UTC)

    assert attempts.purge_at(moment) - moment == timedelta(hours=hours)


def test_28_days_are_right_from_every_quarter_of_an_hour_of_a_year():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    seen = set()
    while moment < datetime(2027, 1, 1, tzinfo=UTC):
        purge = attempts.purge_at(moment)
        seen.add(purge - moment)
        wall, then = moment.astimezone(BUCHAREST).replace(tzinfo=None), purge.astimezone(BUCHAREST).replace(tzinfo=None)
        assert then - wall >= timedelta(days=28)
        assert then - wall <= timedelta(days=28, hours=1)
        moment += timedelta(minutes=15)

    assert seen == {timedelta(hours=672), timedelta(hours=673)}


@given(MOMENTS)
def test_notices_come_a_week_and_a_day_before_the_purge(moment):
    purge = attempts.purge_at(moment)

    first = attempts.next_notice(purge, moment)
    second = attempts.next_notice(purge, first)

    assert (purge - first, purge - second) == (timedelta(days=7), timedelta(days=1))
    assert attempts.next_notice(purge, second) == purge
