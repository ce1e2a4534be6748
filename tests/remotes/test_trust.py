"""Host keys: which are trusted, and that nothing about the user goes out to anybody else. Seen on the wire."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from twisted.conch.ssh.keys import Key

from conch_pipe.model import Role, Status
from conch_pipe.remotes.trust import Anything, Learning, OnlyPinned, policy
from conch_pipe.ssh.client.errors import HostKeyRefused
from conch_pipe.ssh.keys import fingerprint
from conch_pipe.ssh.limits import Limits
from tests.remotes.lines import Trouble
from tests.remotes.pushing import World, pin, remote
from tests.ssh.pair import host_key
from tests.ssh.sftp_peer import Outcome

OTHER = Key(Ed25519PrivateKey.generate())
RSA = Key(generate_private_key(65537, 2048))


def blob(key: Key) -> bytes:
    return key.public().blob()


def plain(heard: bytes) -> list[int]:
    """Numbers of the messages of a client that has no keys yet."""
    _, _, packets = heard.partition(b"\r\n")
    numbers = []
    while packets:
        size = int.from_bytes(packets[:4], "big")
        numbers.append(packets[5])
        packets = packets[4 + size :]
    return numbers


# Policies.


def test_the_policy_of_a_remote():
    assert isinstance(policy(remote()), OnlyPinned)
    assert isinstance(policy(remote(any_host_key=True)), Anything)
    assert policy(remote(any_host_key=True)).pinned == (), "all kinds of keys are offered"
    assert policy(remote(pins=(pin(), pin(OTHER)))).pinned == (blob(host_key()), blob(OTHER))


@pytest.mark.parametrize("pinned", [(host_key(),), (OTHER, host_key())])
def test_a_pinned_key_is_trusted(pinned):
    one = OnlyPinned(*map(blob, pinned))

    assert one.verify(blob(host_key()), b"ssh-ed25519") is True
    assert one.shown == blob(host_key())


@pytest.mark.parametrize("one", [OnlyPinned(blob(OTHER)), OnlyPinned(), Learning()])
def test_any_other_key_is_refused_and_kept(one):
    with pytest.raises(HostKeyRefused) as refused:
        one.verify(blob(host_key()), b"ssh-ed25519")

    assert refused.value.blob == one.shown == blob(host_key())


# On the wire.


@pytest.mark.parametrize("pins", [(pin(OTHER),), ()], ids=["another is pinned", "none is pinned"])
def test_nothing_but_the_key_exchange_goes_to_a_server_with_another_key(tmp_path, pins):
    world = World(tmp_path)
    pushing = Outcome(world.start(pins=pins))
    (link,) = world.net.links
    world.net.settle()

    report = pushing.value
    assert (report.status, report.reason) == (Status.HOST_KEY_MISMATCH, "host_key")
    assert ("no host key is pinned" in report.detail) == (not pins)
    assert report.refused_key == blob(host_key())
    assert report.host_key == fingerprint(blob(host_key()))
    assert plain(link.heard) == [20, 30, 1], "KEXINIT, the key exchange, DISCONNECT: no NEWKEYS, and no login"
    assert not world.liar.logins
    world.quiet()


def test_each_of_several_pins_is_trusted(tmp_path):
    world = World(tmp_path)

    assert world.push(pins=(pin(OTHER), pin())).status is Status.OK


def test_any_key_is_taken_where_the_operator_said_so(tmp_path):
    world = World(tmp_path, key=OTHER)

    report = world.push(pins=(), any_host_key=True)

    assert report.status is Status.OK
    assert report.host_key == fingerprint(blob(OTHER))


def test_a_server_without_a_key_of_the_pinned_kind_is_not_logged_in_to(tmp_path):
    """A mismatch could not be told from a server that merely has no such key: it is said which kinds it has."""
    world = World(tmp_path)

    report = world.push(pins=(pin(RSA),))

    assert (report.status, report.reason) == (Status.UPLOAD_FAILED, "algorithms")
    assert "ssh-ed25519" in report.detail
    assert not world.liar.logins


def test_another_key_at_a_rekey_ends_the_attempt(tmp_path):
    world = World(tmp_path, limits=None, rekey_key=OTHER)
    world.liar.factory.limits = Limits(rekey_bytes=100_000, window=2**16)

    report = world.push()

    assert (report.status, report.reason) == (Status.HOST_KEY_MISMATCH, "host_key")
    assert report.refused_key == blob(OTHER)
    assert report.host_key == fingerprint(blob(host_key())), "the one that was trusted"
    assert world.arrived() == set()


def test_another_key_at_a_rekey_is_told_also_when_the_main_file_has_arrived(tmp_path):
    world = World(tmp_path, rekey_key=OTHER, silent={("write", b"n_raw.mp4")})
    pushing = Outcome(world.start())
    world.net.settle()
    assert world.arrived() == {Role.MAIN}

    world.liar.connections[0].sendKexInit()
    world.net.settle()

    report = pushing.value
    assert (report.status, report.reason) == (Status.HOST_KEY_MISMATCH, "host_key")
    assert report.files[0].reason == "", "what has arrived has arrived"
    assert {one.reason for one in report.files[1:]} == {"host_key"}
    world.quiet()


def test_the_same_key_at_a_rekey_is_well(tmp_path):
    world = World(tmp_path)
    world.liar.factory.limits = Limits(rekey_bytes=100_000, window=2**16)

    assert world.push().status is Status.OK
    assert world.liar.connections[0].rekeyings >= 3


def test_nothing_is_learnt_by_pushing(tmp_path):
    """Trust on first use is for a person who tests the remote, never for an attempt."""
    world = World(tmp_path)
    world.push(pins=())

    assert world.push(pins=()).status is Status.HOST_KEY_MISMATCH
    assert not world.liar.logins


def test_a_key_whose_proof_never_comes_is_not_trusted(tmp_path):
    world = World(tmp_path)
    world.net.down = Trouble(after=1_500, then="stall")

    report = world.push(within_s=12)

    assert report.status is Status.SFTP_CONNECTION_TIMEOUT
    assert report.host_key == ""
    assert not world.liar.logins
