"""A remote tried step by step: what each step says, and what is never done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import CancelledError, Deferred

from conch_pipe.model import RemoteSecrets, Status
from conch_pipe.remotes.testing import STEPS, Step, test
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.keys import fingerprint
from tests.remotes.lines import Trouble
from tests.remotes.lying import DENIED, FAILURE
from tests.remotes.pushing import ADDRESS, World, pin
from tests.ssh.sftp_peer import Outcome

test.__test__ = False  # type: ignore[attr-defined]  # the name is the room's
OTHER = Key(Ed25519PrivateKey.generate())
RSA = Key(generate_private_key(65537, 2048))


class Tried:
    """The steps of one test."""

    def __init__(self, world: World, within_s: float = 60.0, **fields: Any) -> None:
        remote = replace(world.remote, **fields)
        deferred = Deferred.fromCoroutine(test(world.around, remote, world.secrets.answer))
        self.steps: list[Step] = world.net.outcome(deferred, within_s)
        world.quiet()
        assert [step.name for step in self.steps] == list(STEPS)

    def __getitem__(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def levels(self) -> list[str]:
        return [step.level for step in self.steps]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_all_is_well(world):
    tried = Tried(world)

    assert tried.levels == ["ok"] * 6
    assert ADDRESS in tried["address"].words
    assert fingerprint(pin().blob) in tried["host key"].words
    assert "ann" in tried["login"].words
    assert tried["folder"].words == "/home/in"
    assert "removed" in tried["probe file"].words
    assert world.liar.files == {}, "nothing stays there"


def test_a_name_is_asked_for_once(world):
    """What was judged in the first step is what the others talk to."""
    world.net.names["sftp.example"] = [[ADDRESS], ["127.0.0.1"]]

    tried = Tried(world, host="sftp.example", pins=(pin(RSA),))

    assert tried["connection"].level == "ok"
    assert world.net.asked == ["sftp.example"]
    assert len(world.net.connected) == 2


def test_without_a_pin_the_key_is_shown_and_nobody_logs_in(world):
    tried = Tried(world, pins=())

    assert tried.levels == ["ok", "ok", "warn", "skip", "skip", "skip"]
    assert tried["host key"].host_key == pin().blob
    assert fingerprint(pin().blob) in tried["host key"].words
    assert not world.liar.logins, "neither the password nor the user name went out"


def test_a_key_that_was_confirmed_is_pinned_and_the_test_goes_on(world):
    learnt = Tried(world, pins=())["host key"].host_key

    tried = Tried(world, pins=(replace(pin(), blob=learnt, origin="learnt"),))

    assert tried.levels == ["ok"] * 6


def test_another_key_than_the_pinned_one_is_shown_and_nobody_logs_in(world):
    pinned = pin(OTHER)

    tried = Tried(world, pins=(pinned,))

    step = tried["host key"]
    assert tried.levels == ["ok", "ok", "fail", "skip", "skip", "skip"]
    assert (step.status, step.host_key) == (Status.HOST_KEY_MISMATCH, pin().blob)
    assert fingerprint(pinned.blob) in step.words
    assert not world.liar.logins


def test_a_server_that_has_a_key_of_another_kind_shows_it(world):
    """The pinned kind alone is offered, so the first connection comes to nothing."""
    tried = Tried(world, pins=(pin(RSA),))

    assert tried["host key"].level == "fail"
    assert tried["host key"].host_key == pin().blob
    assert not world.liar.logins


def test_any_key_is_taken_with_a_warning(world):
    tried = Tried(world, pins=(), any_host_key=True)

    assert tried.levels == ["ok", "ok", "warn", "ok", "ok", "ok"]


@pytest.mark.parametrize(
    ("host", "status", "reason"),
    [
        ("nobody.example", Status.SFTP_CONNECTION_TIMEOUT, "dns"),
        ("10.1.2.3", Status.SFTP_CONNECTION_TIMEOUT, "address"),
        ("0x7f.1", Status.SFTP_CONNECTION_TIMEOUT, "address"),
        ("silent.example", Status.SFTP_CONNECTION_TIMEOUT, "timeout"),
    ],
)
def test_an_address_that_cannot_be_used(world, host, status, reason):
    world.net.names["silent.example"] = None

    tried = Tried(world, host=host)

    assert tried.levels == ["fail"] + ["skip"] * 5
    assert (tried["address"].status, tried["address"].reason) == (status, reason)
    assert world.net.connected == []


def test_nobody_listens(world):
    tried = Tried(world, port=23)

    assert tried.levels == ["ok", "fail"] + ["skip"] * 4
    assert tried["connection"].reason == "refused"


def test_a_silent_server(world):
    world.net.down = Trouble(after=0, then="stall")

    tried = Tried(world)

    assert (tried["connection"].level, tried["connection"].reason) == ("fail", "timeout")


@pytest.mark.parametrize("login", ["refuse", "change", "partial", "leave"])
def test_a_login_that_is_refused(tmp_path, login):
    tried = Tried(World(tmp_path, login=login))

    assert tried.levels == ["ok", "ok", "ok", "fail", "skip", "skip"]
    assert tried["login"].status is Status.SFTP_LOGIN_FAILED


@pytest.mark.parametrize("pins", [(), (pin(),)])
def test_without_usable_secrets_the_host_key_is_looked_at_all_the_same(tmp_path, pins):
    world = World(tmp_path, secrets=RemoteSecrets())

    tried = Tried(world, pins=pins)

    assert tried["host key"].level == ("ok" if pins else "warn")
    assert (tried["login"].level, tried["login"].reason) == (("fail", "credentials") if pins else ("skip", ""))
    assert not world.liar.logins


@pytest.mark.parametrize("folder", ["nowhere", "/nowhere"])
def test_a_folder_that_is_missing(world, folder):
    tried = Tried(world, folder=folder)

    assert tried.levels == ["ok"] * 4 + ["fail", "skip"]
    assert tried["folder"].status is Status.INCORRECT_SFTP_FOLDER


def test_a_folder_that_takes_no_files(tmp_path):
    tried = Tried(World(tmp_path, refuse={"open": DENIED}))

    assert tried.levels == ["ok"] * 5 + ["fail"]
    assert tried["probe file"].reason == "permission"


@pytest.mark.parametrize("error", [DENIED, FAILURE])
def test_a_server_that_denies_removing_keeps_the_probe_and_the_test_names_it(tmp_path, error):
    world = World(tmp_path, refuse={"remove": error})

    tried = Tried(world)

    (left,) = world.liar.files
    assert tried["probe file"].level == "warn"
    assert left.rpartition(b"/")[2].decode() in tried["probe file"].words


def test_a_server_that_does_not_rename_is_told_where_temporary_names_are_wanted(tmp_path):
    tried = Tried(World(tmp_path, refuse={"rename": DENIED, "posix_rename": DENIED}), temporary_names=True)

    assert tried["probe file"].level == "warn"
    assert "did not rename" in tried["probe file"].words


def test_no_marker_is_put(world):
    Tried(world, marker="done")

    assert world.liar.files == {}
    assert not [path for _, path in world.liar.asked if path.endswith(b"done")]


def test_a_connection_that_is_lost_at_the_probe(tmp_path):
    world = World(tmp_path, silent={"close"})
    testing = Outcome(Deferred.fromCoroutine(test(world.around, world.remote, world.secrets.answer)))
    world.net.settle()

    world.net.links[0].cut()

    assert (testing.value[-1].level, testing.value[-1].reason) == ("fail", "connection_lost")
    world.quiet()


def test_cancelling_closes_the_connection(tmp_path):
    world = World(tmp_path, silent={"close"})
    testing = Deferred.fromCoroutine(test(world.around, world.remote, world.secrets.answer))
    outcome = Outcome(testing)
    world.net.settle()

    testing.cancel()
    world.quiet()

    assert isinstance(outcome.error, CancelledError)


@pytest.mark.parametrize(
    ("silent", "levels", "reason"),
    [
        (set(), ["ok", "fail", "skip", "skip", "skip", "skip"], "timeout"),
        ({"realpath"}, ["ok", "ok", "ok", "ok", "fail", "skip"], "stalled"),
        ({"close"}, ["ok", "ok", "ok", "ok", "ok", "fail"], "stalled"),
    ],
)
def test_all_steps_together_may_have_a_limit(tmp_path, silent, levels, reason):
    long = ClientLimits(connect_s=600, login_s=600, request_s=600, progress_s=600)
    world = World(tmp_path, limits=long, silent=silent)
    if not silent:
        world.net.servers[ADDRESS, 22] = None
    deferred = Deferred.fromCoroutine(test(world.around, world.remote, world.secrets.answer, within_s=20))

    steps = world.net.outcome(deferred, 25)

    world.quiet()
    assert [step.level for step in steps] == levels
    late = next(step for step in steps if step.level == "fail")
    assert (late.reason, "20 s" in late.words) == (reason, True)
