"""Logging in: who comes in, and how little a failure tells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import bcrypt
import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.login import secrets
from conch_pipe.login.core import Login, Rules
from conch_pipe.login.throttle import TABLE_LENGTH, Throttle
from conch_pipe.model import Client, Credential, Secret
from conch_pipe.sftp.login import PasswordChecker
from conch_pipe.ssh.interfaces import Peer
from conch_pipe.ssh.server.auth import PasswordAttempt
from tests.conftest import CANARY
from tests.sftp.conftest import START
from tests.sftp.fakes import HeardEvents, MemoryCredentials

COST = 4  # bcrypt's least, for speed
SECRET = b"right-" + CANARY.encode()
OTHER = b"other-" + CANARY.encode()
WRONG = b"wrong-" + CANARY.encode()
HASH = bcrypt.hashpw(SECRET, bcrypt.gensalt(COST))
OTHER_HASH = bcrypt.hashpw(OTHER, bcrypt.gensalt(COST))
CREATED = datetime(2025, 1, 1, tzinfo=UTC)


def credential(client_id: str = "acme-1", **columns) -> Credential:
    return Credential(
        **{
            "client_id": client_id,
            "organisation": "acme",
            "label": "",
            "created_at": CREATED,
            "revoked_at": None,
            "secrets": (Secret(HASH, CREATED),),
            "schemas": ("orgShifts",),
            **columns,
        }
    )


@dataclass
class Try:
    """What a client was answered, and after how long."""

    answer: object
    seconds: float


class Door:
    """The login with a clock, and a thread pool that counts and may be held."""

    def __init__(self, *credentials: Credential, threads: int = 1) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.credentials = MemoryCredentials(*credentials)
        self.events = HeardEvents()
        self.ended: list[tuple[str, str]] = []
        self.gone: set[str] = set()
        self.hashed = 0  # hashes compared
        self.held: list[Deferred[None]] | None = None
        rules = Rules(hash_threads=threads, hash_cost=COST, longest_delay_s=20)
        self.login = Login(self.credentials, self.in_thread, self.events, self.clock, rules)
        self.checks = self.login._checks
        self.checker = PasswordChecker(
            self.login,
            self.events,
            lambda *ended: self.ended.append(ended),
            lambda session: session not in self.gone,
        )
        self._sessions = itertools.count()

    def in_thread(self, function, *args):
        if function is secrets.matches:
            self.hashed += len(args[1])
        if self.held is None:
            return maybeDeferred(function, *args)
        self.held.append(Deferred())
        return self.held[-1].addCallback(lambda _: function(*args))

    def let_go(self) -> None:
        held, self.held = self.held or [], None
        for one in held:
            one.callback(None)

    def start(self, username=b"acme-1", password=SECRET, address="192.0.2.1") -> list:
        peer = Peer(address, 5, "SSH-2.0-test", f"{next(self._sessions):016x}")
        answers: list = []
        self.checker.requestAvatarId(PasswordAttempt(username, password, peer)).addBoth(answers.append)
        return answers

    def attempt(self, username=b"acme-1", password=SECRET, address="192.0.2.1") -> Try:
        began = self.clock.seconds()
        answers = self.start(username, password, address)
        while not answers:
            self.clock.advance(0.01)
            assert self.clock.seconds() < began + 120, "never answered"
        return Try(answers[0], round(self.clock.seconds() - began, 2))


@pytest.fixture
def door():
    return Door(
        credential(),
        credential("revoked-1", revoked_at=CREATED, secrets=()),
        credential("revoked-2", revoked_at=CREATED),
        credential("empty-1", secrets=()),
    )


def test_the_right_secret_logs_in_with_the_schemas_of_the_moment(door):
    client = door.attempt().answer

    assert isinstance(client, Client)
    assert (client.client_id, client.organisation, client.schemas) == ("acme-1", "acme", frozenset({"orgShifts"}))
    assert client.peer.address == "192.0.2.1"
    assert client.peer.banner == "SSH-2.0-test"
    assert door.credentials.logins == ["acme-1"]


FAILURES = {
    "wrong": (b"acme-1", WRONG),
    "empty": (b"acme-1", b""),
    "unknown": (b"nobody", SECRET),
    "other case": (b"ACME-1", SECRET),
    "revoked, secrets gone": (b"revoked-1", SECRET),
    "revoked, secrets kept": (b"revoked-2", SECRET),
    "no secret alive": (b"empty-1", SECRET),
    "secret too long for bcrypt": (b"acme-1", SECRET + b"x" * 200),
    "NUL in the secret": (b"acme-1", SECRET + b"\0"),
    "bytes in the secret": (b"acme-1", b"\xff" * 20),
    "long name": (b"a" * 128, SECRET),
    "odd name": (b"acme-1\r\n", SECRET),
    "NUL in the name": (b"acme-1\0", SECRET),
    "name that is not ASCII": ("acme-\u0661".encode(), SECRET),
    "empty name": (b"", SECRET),
}


@pytest.mark.parametrize("what", FAILURES)
def test_every_failure_reads_the_same_takes_the_same_work_and_the_same_time(door, what):
    """One bcrypt of the stored cost, the same exception, no answer before the floor."""
    tried = door.attempt(*FAILURES[what])

    assert tried.answer.type is UnauthorizedLogin
    assert str(tried.answer.value) == "login failed"
    assert door.hashed == 1
    assert 1.0 <= tried.seconds <= 1.21
    assert door.credentials.logins == []


@pytest.mark.parametrize("name", [b"acme-1", b"nobody"])
def test_the_jitter_of_a_name_is_always_the_same(door, name):
    """Else the mean of many tries would tell the name's true time."""
    first, second = (door.attempt(name, WRONG, address=str(n)).seconds for n in range(2))

    assert first == pytest.approx(second, abs=0.011)


def test_the_dummy_hash_costs_what_the_stored_ones_cost(door):
    door.attempt(b"nobody")

    assert door.checks._dummy.split(b"$")[2] == HASH.split(b"$")[2]


def test_a_failure_is_told_with_our_names_only(door):
    """Partners paste secrets into the user name."""
    door.attempt(SECRET, b"x")
    door.attempt(b"acme-1", WRONG)
    door.attempt(b"revoked-2", SECRET)

    told = [(one["client_id"], one["reason"]) for one in door.events.of(events.LOGIN_FAILED)]
    assert told == [("", "unknown"), ("acme-1", "secret"), ("revoked-2", "revoked")]


def test_no_secret_is_in_any_event_exception_or_repr(door):
    tries = [door.attempt(*pair) for pair in FAILURES.values()] + [door.attempt()]

    shown = repr(door.events.heard) + repr(tries) + repr(vars(door.checks)) + repr(vars(door.login))
    shown += "".join(one.answer.getTraceback() for one in tries if hasattr(one.answer, "getTraceback"))
    assert CANARY not in shown


# Two secrets while a partner changes over


def test_both_secrets_work_during_a_rotation_and_the_old_one_until_it_expires(door):
    until = datetime.fromtimestamp(START, UTC) + timedelta(hours=1)
    door.credentials.change("acme-1", secrets=(Secret(OTHER_HASH, CREATED), Secret(HASH, CREATED, until)))
    assert isinstance(door.attempt(password=OTHER).answer, Client)
    assert isinstance(door.attempt(password=SECRET).answer, Client)

    door.clock.advance(3600)

    assert isinstance(door.attempt(password=OTHER).answer, Client)
    assert door.attempt(password=SECRET).answer.type is UnauthorizedLogin


def test_a_login_that_is_decided_after_the_client_left_is_no_login(door):
    door.held = []
    answers = door.start()
    door.gone.add(f"{0:016x}")

    door.let_go()

    assert answers[0].type is UnauthorizedLogin
    assert door.credentials.logins == []


# The cache


def test_a_login_storm_costs_one_hash_one_question_and_one_write(door):
    for _ in range(50):
        assert door.attempt().seconds == 0

    assert door.hashed == 1
    assert door.credentials.asked == 1
    assert door.credentials.logins == ["acme-1"]


def test_the_catalog_is_asked_anew_after_a_second(door):
    for _ in range(10):
        door.attempt()
        door.clock.advance(0.5)

    assert door.credentials.asked == 5
    assert door.hashed == 1


def test_the_time_of_a_login_is_written_once_a_minute(door):
    door.credentials.change("acme-1", last_login_at=datetime.fromtimestamp(START - 30, UTC))
    door.attempt()
    assert door.credentials.logins == []

    door.clock.advance(30)
    door.attempt()

    assert door.credentials.logins == ["acme-1"]


def test_a_verified_secret_is_forgotten_after_five_minutes(door):
    door.attempt()
    door.clock.advance(299)
    door.attempt()
    assert door.hashed == 1

    door.clock.advance(1)
    door.attempt()

    assert door.hashed == 2


def test_revocation_takes_effect_within_a_second_in_spite_of_the_cache(door):
    door.attempt()
    door.clock.advance(0.5)
    door.attempt()
    door.credentials.revoke("acme-1")

    door.clock.advance(0.5)

    assert door.attempt().answer.type is UnauthorizedLogin


def test_a_secret_that_was_replaced_is_forgotten_within_a_second_and_the_new_one_works_at_once(door):
    door.attempt()
    door.credentials.change("acme-1", secrets=(Secret(OTHER_HASH, CREATED),))
    assert isinstance(door.attempt(password=OTHER).answer, Client)

    door.clock.advance(1)

    assert door.attempt().answer.type is UnauthorizedLogin


def test_a_clock_that_is_set_back_does_not_keep_a_credential(door):
    door.attempt()
    door.credentials.revoke("acme-1")

    door.clock.rightNow -= 3600

    assert door.attempt().answer.type is UnauthorizedLogin


def test_one_clients_secret_opens_no_other_door():
    door = Door(credential(), credential("rival-1", organisation="rival", secrets=(Secret(OTHER_HASH, CREATED),)))
    door.attempt()

    assert door.attempt(b"rival-1", SECRET).answer.type is UnauthorizedLogin


def test_logins_that_wait_for_the_same_check_share_it(door):
    door.held = []
    first, second = door.start(), door.start()

    door.let_go()

    assert isinstance(first[0], Client)
    assert isinstance(second[0], Client)
    assert door.hashed == 1


# The queue


def test_a_full_queue_puts_logins_off_and_says_so(door):
    door.held = []
    waiting = [door.start(b"nobody", WRONG, str(n)) for n in range(1 + secrets.QUEUE_LENGTH)]

    late = door.start()

    assert late[0].type is UnauthorizedLogin
    assert [text for _, text in door.ended] == ["too many logins at once; try again"]
    assert door.events.of(events.LOGIN_FAILED) == []
    door.let_go()
    door.clock.pump([0.1] * 20)
    assert all(answer[0].type is UnauthorizedLogin for answer in waiting)


def test_a_login_waits_five_seconds_for_its_turn_and_no_longer(door):
    door.held = []
    door.start(b"nobody", WRONG)
    late = door.start()

    door.clock.advance(4.9)
    assert late == []
    door.clock.advance(0.1)

    assert late[0].type is UnauthorizedLogin
    assert [text for _, text in door.ended] == ["too many logins at once; try again"]
    door.let_go()
    door.clock.pump([0.1] * 20)
    assert isinstance(door.attempt().answer, Client)


def test_a_catalog_that_cannot_be_asked_is_not_a_wrong_secret(door):
    door.credentials.broken = PipeError(Code.BUSY, "the catalog is busy")

    assert door.attempt().answer.type is UnauthorizedLogin

    assert [text for _, text in door.ended] == ["the catalog is busy"]
    assert door.events.of(events.LOGIN_FAILED) == []


def test_a_login_time_that_cannot_be_recorded_stops_nobody(door):
    door.credentials.logged_in = lambda client_id, at: maybeDeferred(_fail)

    assert isinstance(door.attempt().answer, Client)


def _fail():
    raise PipeError(Code.BUSY, "the catalog is busy")


# The throttle


def test_ten_failures_a_minute_are_free_then_answers_slow_down(door):
    times = [door.attempt(b"nobody-%d" % n, WRONG).seconds for n in range(10)]
    assert max(times) <= 1.21

    later = [door.attempt(b"somebody-%d" % n, WRONG).seconds for n in range(4)]

    assert [int(one) for one in later] == [2, 3, 5, 9]


def test_addresses_of_one_ipv6_network_are_one_source(door):
    for number in range(10):
        door.start(b"nobody-%d" % number, WRONG, f"2001:db8:1:2::{number:x}")
    door.clock.pump([0.1] * 20)

    assert door.attempt(b"somebody", WRONG, "2001:db8:1:2:ffff::1").seconds >= 2
    assert door.attempt(b"somebody", WRONG, "2001:db8:1:3::1").seconds < 2


def test_an_address_is_never_slowed_beyond_the_longest_delay(door):
    for _ in range(40):
        door.login.slowness._addresses.failed("192.0.2.1")

    assert door.attempt(b"nobody", WRONG).seconds <= 20 + 1.21


def test_failures_from_everywhere_do_not_lock_a_client_out(door):
    """An account that anybody can lock is one that an attacker locks."""
    for number in range(100):
        door.start(b"acme-1", WRONG, f"198.51.100.{number}")
    door.clock.pump([0.1] * 100)

    tried = door.attempt(address="192.0.2.77")

    assert isinstance(tried.answer, Client)
    assert tried.seconds <= 5.01


def test_a_secret_proven_minutes_ago_waits_for_nobody(door):
    door.attempt()
    for number in range(40):
        door.start(b"acme-1", WRONG, f"198.51.100.{number}")
        door.start(b"nobody", WRONG)
    door.clock.pump([0.1] * 300)

    assert door.attempt().seconds == 0


def test_a_minute_without_failures_is_a_new_beginning():
    clock = Clock()
    throttle = Throttle(clock.seconds, free=2, longest_s=8)
    for _ in range(9):
        throttle.failed("a")
    assert throttle.delay("a") == 8

    clock.advance(61)

    assert throttle.delay("a") == 0
    assert len(throttle) == 0


def test_the_throttle_remembers_a_bounded_number_of_keys():
    throttle = Throttle(lambda: 0.0)
    for number in range(TABLE_LENGTH + 10):
        throttle.failed(str(number))

    assert len(throttle) == TABLE_LENGTH
