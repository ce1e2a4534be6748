"""Who may come in, by the counts alone."""

from __future__ import annotations

import pytest

from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.admission import Admission
from conch_pipe.ssh.server.tally import OwnTally, SharedTally

LIMITS = Limits(connections=100, not_logged_in=40, per_address=8, not_logged_in_per_address=4)


def door(limits: Limits = LIMITS, chance: float = 0.999999) -> tuple[Admission, OwnTally]:
    tally = OwnTally()
    return Admission(limits, tally, lambda: chance), tally


@pytest.mark.parametrize(
    ("connections", "waiting", "reason"),
    [
        (7, 3, None),
        (8, 0, "more than 8 connections of one address"),
        (4, 4, "more than 4 connections of one address not logged in"),
    ],
)
def test_caps_of_one_address(connections, waiting, reason):
    admission, tally = door()
    tally.add("mine", connections, waiting)

    assert admission.refusal("mine") == reason
    assert admission.refusal("another's") is None


@pytest.mark.parametrize(
    ("connections", "waiting", "reason"),
    [
        (99, 39, None),
        (100, 0, "more than 100 connections"),
        (40, 40, "more than 40 connections not logged in"),
    ],
)
def test_caps_in_all_hold_for_proxies_too(connections, waiting, reason):
    admission, tally = door()
    tally.add(None, connections, waiting)

    assert admission.refusal("mine") == admission.refusal(None) == reason


def test_a_proxy_has_no_cap_of_its_own():
    admission, tally = door()
    tally.add(None, 39, 39)

    assert admission.refusal(None) is None


def test_draining_refuses_everybody():
    admission, _ = door()
    admission.draining = True

    assert admission.refusal("mine") == admission.refusal(None) == "shutting down"


def test_the_early_drop_rises_from_30_percent_at_half_to_all():
    admission, _ = door()

    chances = [admission.drop_chance(waiting) for waiting in (0, 19, 20, 30, 39, 40, 41)]

    assert chances == pytest.approx([0, 0, 0.3, 0.65, 0.965, 1, 1])


@pytest.mark.parametrize(("chance", "dropped"), [(0.29, True), (0.31, False)])
def test_the_lot_decides(chance, dropped):
    admission, tally = door(chance=chance)
    tally.add(None, 20, 20)

    assert (admission.refusal("mine") == "many connections not logged in: dropped at random") is dropped


def test_without_an_early_drop_only_the_cap_refuses():
    admission, tally = door(Limits(not_logged_in=40, early_drop_share=1.0), chance=0.0)
    tally.add(None, 39, 39)

    assert admission.refusal("mine") is None


def test_caps_hold_across_processes():
    memory = bytearray(SharedTally.size(2))
    SharedTally.prepare(memory, 2)
    tallies = [SharedTally(memory, index) for index in (0, 1)]
    doors = [Admission(LIMITS, tally, lambda: 0.999999) for tally in tallies]

    let_in = 0
    for number in range(12):
        if doors[number % 2].refusal("192.0.2.1") is None:
            tallies[number % 2].add("192.0.2.1", 1, 1)
            let_in += 1

    assert let_in == 4
