"""75 hours of attempts and 28 days of keeping, with many recordings and everything that may happen meanwhile.

The whole dose, 1,000 recordings to 3 remotes, is PIPE_DOSE=25; it takes minutes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from conch_pipe.model import PushState
from conch_pipe.processing import attempts
from tests.processing.month import Month, Plain, Real
from tests.processing.push_fakes import HeapClock

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
COUNT = min(1000, 40 * DOSE)
HOUR, DAY = 3600, 86_400
REMOTES = ["dock", "pier", "quay"]
# What is given up after 75 hours is kept across the change to summer time, and to winter time.
SPRING = datetime(2026, 3, 10, 7, 0, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 8, 7, 0, tzinfo=UTC)


def catalog(kind: str, clock: HeapClock, folder):
    return Plain(clock) if kind == "plain" else Real(clock, folder)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["plain", "real"])
@pytest.mark.parametrize("begin", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_thirteen_attempts_at_their_seconds_and_28_days_across_a_change_of_the_clock(kind, begin, tmp_path):
    """Remotes fail at random and answer at once, so that nothing but the schedule decides when an attempt is made."""
    clock = HeapClock(begin)
    month = Month(catalog(kind, clock, tmp_path), clock, seed=begin.month, calm=True)
    for name in REMOTES:
        month.catalog.add_remote(name, 25)

    month.submit(COUNT if kind == "plain" else max(10, COUNT // 4), REMOTES, spread_s=12 * HOUR)
    month.run(36 * DAY)

    month.check()
    lasting = {month.deleted[uid] - begin for uid in month.deleted}
    assert max(lasting) > timedelta(days=31)
    assert month.runner.stopService().called
    assert clock.getDelayedCalls() == []
    month.catalog.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kind", "seed"), [("plain", 0), ("plain", 1)] + [("real", seed) for seed in range(min(3, DOSE))]
)
def test_whatever_happens_no_attempt_is_lost_counted_twice_or_early_and_no_cap_is_passed(
    kind, seed, tmp_path, logged_errors
):
    """Connections that take their time, remotes with few of them, stops, kills, edits and attempts by hand."""
    clock = HeapClock(SPRING)
    month = Month(catalog(kind, clock, tmp_path), clock, seed, calm=False, connections=8)
    for name, most in zip(REMOTES, (1, 3, 25), strict=True):
        month.catalog.add_remote(name, most)
    month.submit(COUNT // 2 if kind == "plain" else max(6, COUNT // 8), REMOTES, spread_s=HOUR)

    for _ in range(40):
        month.run(month.random.uniform(0, 4 * HOUR))
        happening = month.random.choice(("stop", "kill", "kill", "edit", "by hand", "by hand"))
        if happening == "edit":
            month.catalog.edit(month.random.choice(REMOTES))
        elif happening == "by hand":
            month.catalog.again(month.random.choice(list(month.pushes.values())))
        else:
            month.stop() if happening == "stop" else month.kill()
            clock.advance(month.random.choice((1, 60, 5 * HOUR)))
            month.begin()
    month.run(70 * DAY)

    month.check()
    states = [month.catalog.one(push).state for push in month.pushes.values()]
    assert set(states) <= {PushState.DELIVERED, PushState.GIVEN_UP}
    assert month.runner.stopService().called
    month.catalog.close()
    logged_errors.flush(ZeroDivisionError)


def test_the_model_and_the_catalog_agree_on_the_end_of_a_push(tmp_path):
    """One recording, one remote, no attempt that works: the same moments by both."""
    ends = []
    for kind in ("plain", "real"):
        clock = HeapClock(SPRING)
        month = Month(catalog(kind, clock, tmp_path / kind), clock, 1, calm=True)
        month.random.random = lambda: 0.9
        month.catalog.add_remote("dock", 1)
        month.submit(1, ["dock"], spread_s=1)
        month.run(4 * DAY)
        (push,) = month.pushes.values()
        saved_at = month.recordings[push.recording].saved_at
        ends.append((push.state, push.attempts, push.final_at - saved_at))
        instant = attempts.instant(13, saved_at, push.recording, "dock")
        assert push.final_at == instant
        assert month.runner.stopService().called
        month.catalog.close()

    assert [end[:2] for end in ends] == [(PushState.GIVEN_UP, 13)] * 2
