"""The HTTP door on the login core itself: failures are slow and alike, and count together with those over SSH."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from conch_pipe import events
from conch_pipe.errors import PipeError
from conch_pipe.login.core import Login, Rules
from conch_pipe.login.slowness import FLOOR_S
from conch_pipe.model import Peer
from tests.web.test_tokens import TOKEN, listed

WRONG = "kanarek-wrong"


class Threads:
    """Runs at once what would run in a thread."""

    def start(self):
        pass

    def stop(self):
        pass

    def __call__(self, function, *args):
        return maybeDeferred(function, *args)


class Core:
    """A door that asks the real login core, and a credential whose secret is known."""

    def __init__(self, door):
        self.door = door
        created, self.secret = door.now(door.catalog.credentials.create("acme"))
        self.client_id = created.client_id
        rules = Rules(failures_per_minute=3)
        self.login = Login(door.catalog.credentials, Threads(), door.events, door.clock, rules)
        door.login.check = self.login.check

    def ask(self, client_id, secret, address="192.0.2.1"):
        body = json.dumps({"client_id": client_id, "client_secret": secret}).encode()
        return self.door.connect(address).ask("POST", TOKEN, body, Content_Type="application/json")

    def over_ssh(self, secret, address):
        peer = Peer(address, 5, "SSH-2.0-test", "0123456789abcdef")
        answers = []
        asked: Deferred = self.login.check(self.client_id.encode(), secret.encode(), peer, lambda: True)
        asked.addErrback(lambda failure: failure.trap(PipeError)).addBoth(answers.append)
        return answers


@pytest.fixture
def core(door):
    return Core(door)


def test_the_secret_of_the_catalog_gives_a_token_and_the_login_is_remembered(core, door):
    answer = core.ask(core.client_id, core.secret).answer

    assert listed(door, answer.json["access_token"]).status == 200
    assert door.now(door.catalog.credentials.find(core.client_id)).last_login_at is not None


def test_a_failure_is_answered_after_the_floor_whatever_is_wrong(core, door):
    door.now(door.catalog.credentials.revoke(door.client_id))
    tries = [(core.client_id, WRONG), ("nobody", WRONG), (door.client_id, WRONG)]
    asked = [core.ask(*one, address=f"192.0.2.{number}") for number, one in enumerate(tries)]
    door.advance(FLOOR_S - 0.1, 0.1)
    assert [one.answers for one in asked] == [[], [], []]

    door.advance(0.4, 0.1)

    assert {(one.answer.status, one.answer.body) for one in asked} == {(401, asked[0].answer.body)}


def test_failures_over_ssh_slow_down_http_from_the_same_address_and_the_other_way_round(core, door):
    for _ in range(3):
        core.over_ssh(WRONG, "192.0.2.1")
        door.advance(2)

    slowed = core.ask("somebody-else", WRONG, "192.0.2.1")
    other = core.ask("somebody-else", WRONG, "192.0.2.77")
    door.advance(1.5, 0.1)

    assert (slowed.answers, other.answer.status) == ([], 401)
    door.advance(5)
    assert slowed.answer.status == 401


def test_a_secret_proven_over_ssh_is_known_over_http_at_once(core, door):
    assert core.over_ssh(core.secret, "192.0.2.1")
    for _ in range(10):
        core.over_ssh(WRONG, "192.0.2.9")  # the account and another address fail
    door.advance(0.1)

    assert core.ask(core.client_id, core.secret).answer.status == 200
    door.advance(60)


def test_a_failed_login_is_told_without_what_was_typed(core, door):
    core.ask("kanarek-as-a-name", WRONG)
    door.advance(2)

    (told,) = door.events.of(events.LOGIN_FAILED)
    assert (told["address"], told["client_id"], told["reason"]) == ("192.0.2.1", "", "unknown")
