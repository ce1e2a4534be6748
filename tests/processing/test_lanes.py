"""Connections to each remote: how many, how soon, and what is remembered of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from conch_pipe.model import Remote, Report, Status
from conch_pipe.processing.lanes import Lanes

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OK = Report(Status.OK)
REFUSED = Report(Status.SFTP_CONNECTION_TIMEOUT, "refused", "nobody listens")
WRONG = Report(Status.SFTP_LOGIN_FAILED, "password")
OTHER_KEY = Report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=b"key")
BROKEN = Report(Status.UPLOAD_FAILED, "no_space", connected=True)


def remote(name: str = "dock", most: int = 25) -> Remote:
    return Remote(name, "acme", "dock.example", "pipe", AT, max_connections=most)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock) -> Lanes:
    return Lanes(clock, 64)


def come(lanes: Lanes, whom: Remote) -> int:
    """Connections that are let in, one after another until one is not."""
    lanes.know(whom)
    count = 0
    while lanes.enter(whom):
        count += 1
    return count


def visit(lanes: Lanes, whom: Remote, report: Report | None) -> None:
    lanes.know(whom)
    assert lanes.enter(whom)
    lanes.leave(whom, report)


def test_a_remote_is_approached_with_one_connection_then_with_twice_as_many_each_time(lanes):
    dock = remote()
    sizes = []
    for _ in range(7):
        sizes.append(come(lanes, dock))
        lanes.worked(dock)

    assert sizes == [1, 1, 2, 4, 8, 9, 0]  # those that came, more each time
    assert lanes.used == 25


def test_its_limit_is_held_exactly(lanes):
    dock = remote(most=3)
    for _ in range(5):
        come(lanes, dock)
        lanes.worked(dock)

    assert (lanes.used, come(lanes, dock)) == (3, 0)
    lanes.leave(dock, OK)
    assert come(lanes, dock) == 1


def test_a_lower_limit_holds_at_once(lanes):
    dock = remote(most=8)
    for _ in range(4):
        come(lanes, dock)
        lanes.worked(dock)

    fewer = replace(dock, max_connections=2)
    lanes.know(fewer)

    for left in range(8, 1, -1):
        assert not lanes.enter(fewer)
        lanes.leave(dock, OK)
        assert lanes.used == left - 1
    assert lanes.enter(fewer)


@pytest.mark.parametrize(("report", "seconds"), [(REFUSED, 30), (WRONG, 60)])
def test_a_failure_is_remembered_for_a_while_and_then_one_may_try(clock, lanes, report, seconds):
    dock = remote()
    lanes.know(dock)
    for _ in range(3):
        lanes.worked(dock)

    visit(lanes, dock, report)
    clock.advance(seconds - 0.1)
    lanes.know(dock)
    known = lanes.failure(dock)
    clock.advance(0.1)

    assert (known.status, known.reason) == (report.status, report.reason)
    assert lanes.failure(dock) is None
    assert come(lanes, dock) == 1


def test_another_host_key_is_remembered_until_the_remote_is_changed(clock, lanes):
    dock = remote()
    visit(lanes, dock, OTHER_KEY)
    clock.advance(1_000_000)
    lanes.room({})
    lanes.know(dock)
    assert lanes.failure(dock).status is Status.HOST_KEY_MISMATCH

    lanes.know(replace(dock, changed_at=AT + timedelta(days=12)))

    assert lanes.failure(dock) is None


def test_a_change_forgets_what_was_and_what_is_still_found_out_about_before(lanes):
    """An attempt with the old password ends after the new one was saved."""
    dock = remote()
    lanes.know(dock)
    assert lanes.enter(dock)
    changed = replace(dock, changed_at=AT + timedelta(seconds=1))
    lanes.know(changed)
    lanes.know(dock)  # read before, and comes late

    lanes.leave(dock, WRONG)

    assert lanes.failure(changed) is None
    assert come(lanes, changed) == 1


def test_a_clock_that_is_put_back_does_not_make_a_failure_last(clock, lanes):
    clock.advance(10_000)
    visit(lanes, remote(), REFUSED)

    clock.rightNow -= 3600

    assert lanes.failure(remote()) is None


def test_other_troubles_are_nobody_elses(lanes):
    dock = remote()
    visit(lanes, dock, BROKEN)
    visit(lanes, dock, None)

    assert lanes.failure(dock) is None


def test_a_remote_that_was_idle_is_approached_slowly_again(clock, lanes):
    dock = remote()
    lanes.know(dock)
    lanes.worked(dock)
    lanes.worked(dock)
    clock.advance(59)
    assert lanes.room({}) == ({"dock": 4}, 1)

    clock.advance(1)

    assert lanes.room({}) == ({}, 1)
    assert come(lanes, dock) == 1


def test_room_for_claims_is_what_may_still_come(lanes):
    dock, pier = remote(), remote("pier")
    lanes.know(dock)
    lanes.know(pier)
    lanes.worked(dock)

    assert lanes.room({"dock": 1, "new": 1}) == ({"dock": 1, "pier": 1, "new": 0}, 1)


def test_what_needs_no_connection_is_claimed_by_the_dozen(lanes):
    visit(lanes, remote(), REFUSED)

    assert lanes.room({"dock": 3}) == ({"dock": 13}, 1)


def test_all_connections_together_have_a_limit_too(clock):
    lanes = Lanes(clock, 2)
    for name in ("a", "b"):
        lanes.know(remote(name))
        assert lanes.enter(remote(name))
    lanes.know(remote("c"))

    assert not lanes.enter(remote("c"))
    assert lanes.room({"a": 1, "b": 1}) == ({"a": 0, "b": 0, "c": 0}, 0)


def test_connections_of_a_remote_that_has_just_failed_still_count(clock):
    lanes = Lanes(clock, 4)
    dock = remote()
    for _ in range(3):
        come(lanes, dock)
        lanes.worked(dock)
    come(lanes, dock)
    lanes.leave(dock, REFUSED)

    assert lanes.used == 3
    assert lanes.room({"dock": 3})[1] == 1
    assert lanes.room({"dock": 3, "pier": 1})[1] == 0


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.integers(1, 80))
def test_slow_remotes_always_leave_room_for_another(mosts, connections):
    """Each takes all it is given and gives nothing back."""
    lanes = Lanes(Clock(), connections)
    docks = [remote(f"dock{number}", most) for number, most in enumerate(mosts)]
    held: dict[str, int] = {}
    for _ in range(20):
        for dock in docks:
            room, others = lanes.room(held)
            held[dock.name] = held.get(dock.name, 0) + room.get(dock.name, others)
        for dock in docks:
            lanes.know(dock)
            lanes.worked(dock)

    assert sum(held.values()) <= connections
    if connections > len(docks):
        assert lanes.room(held)[1] == 1
    assert all(held[dock.name] <= dock.max_connections for dock in docks)
