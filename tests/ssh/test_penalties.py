"""What offences cost, and when they have run off."""

from __future__ import annotations

import pytest

from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.addresses import Networks
from conch_pipe.ssh.server.penalties import Offence, Penalties
from conch_pipe.ssh.server.tally import OwnTally, SharedTally

HERE = "192.0.2.7"
WRONG, NO_ATTEMPT, LATE, VIOLATION = Offence


class Court:
    """Penalties over a clock that can be set."""

    def __init__(self, limits: Limits | None = None, exempt: tuple[str, ...] = (), tally=None) -> None:
        self.now = 1000.1
        self.penalties = Penalties(limits or Limits(), tally or OwnTally(), lambda: self.now, Networks(exempt))

    def note(self, *offences: Offence, address: str = HERE) -> float:
        for offence in offences:
            self.penalties.note(address, offence)
        return self.left(address)

    def left(self, address: str = HERE) -> float:
        return round(self.penalties.left(address), 3)


@pytest.mark.parametrize(
    ("offences", "left"),
    [
        ([], 0),
        ([WRONG, WRONG], 0),
        ([WRONG] * 3, 15),
        ([WRONG] * 4, 20),
        ([NO_ATTEMPT] * 14, 0),
        ([NO_ATTEMPT] * 15, 15),
        ([LATE], 0),
        ([LATE, WRONG], 15),
        ([VIOLATION], 30),
        ([VIOLATION] * 19, 570),
        ([VIOLATION] * 50, 600),
    ],
)
def test_an_address_that_owes_15_seconds_is_refused_until_they_have_run_off(offences, left):
    assert Court().note(*offences) == left


def test_three_times_5_seconds_are_15_whatever_the_fractions_of_the_clock():
    court = Court()
    for number in range(200):
        court.now += 20 + number / 7
        assert court.note(WRONG, WRONG, WRONG) == 15, court.now


def test_penalties_run_off_as_time_passes():
    court = Court()
    court.note(WRONG, WRONG)
    court.now += 6

    assert court.note(WRONG) == 0
    assert court.note(WRONG) == 0
    assert court.note(WRONG) == 19


def test_one_who_is_punished_stays_so_until_all_has_run_off():
    """Not only until less than 15 s are left."""
    court = Court()
    court.note(VIOLATION)

    court.now += 29.9
    assert court.left() == 0.1
    court.now += 0.2
    assert court.left() == 0
    assert court.note(WRONG) == 0


def test_an_offence_of_one_who_is_punished_adds_to_what_is_left():
    """Connections that were open before can still guess."""
    court = Court()
    court.note(VIOLATION)
    court.now += 25

    assert court.note(WRONG) == 10


def test_a_mistyped_password_now_and_then_costs_nothing():
    """A person who needs ten tries, six seconds each."""
    court = Court()

    for _ in range(10):
        assert court.note(WRONG) == 0
        court.now += 6


def test_a_script_with_an_old_secret_that_tries_every_second_is_refused_at_its_fourth():
    court = Court()
    tries = 0
    while not court.left():
        court.note(WRONG)
        court.now += 1
        tries += 1

    assert tries == 4


def test_others_do_not_suffer_but_those_of_the_same_ipv6_network():
    court = Court()
    court.note(VIOLATION)
    court.note(VIOLATION, address="2001:db8::1")

    assert court.left("192.0.2.8") == court.left("2001:db8:0:1::1") == 0
    assert court.left("2001:db8::ffff") == 30


def test_exempt_addresses_owe_nothing():
    court = Court(exempt=("192.0.2.0/24",))

    assert court.note(*[VIOLATION] * 5) == 0
    assert court.note(VIOLATION, address="198.51.100.1") == 30


def test_nobody_is_punished_when_the_longest_is_0():
    assert Court(Limits(penalty_longest_s=0.0)).note(*[VIOLATION] * 5) == 0


def test_each_price_is_a_setting():
    limits = Limits(penalty_violation_s=0.0, penalty_password_s=2.0, penalty_from_s=4.0)

    assert Court(limits).note(*[VIOLATION] * 5) == 0
    assert Court(limits).note(WRONG, WRONG) == 4


def test_what_one_process_has_seen_holds_in_all_of_them():
    memory = bytearray(SharedTally.size(2))
    SharedTally.prepare(memory, 2)
    first, second = (Court(tally=SharedTally(memory, index)) for index in (0, 1))

    first.note(WRONG, WRONG)
    assert second.note(WRONG) == 15
    assert first.left() == 15
    assert first.note(WRONG) == second.left() == 20


def test_the_last_65536_offenders_are_remembered():
    court = Court()
    for number in range(65_537):
        court.penalties.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", VIOLATION)

    assert (court.left("10.0.0.0"), court.left("10.0.0.1"), court.left("10.1.0.0")) == (0, 30, 30)
