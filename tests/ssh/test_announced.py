"""Host keys told to clients and proven to them, and keys on their way out."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key
from twisted.internet.task import Clock

from conch_pipe.ssh.fields import Reader, string
from conch_pipe.ssh.server.announced import PROOF, rsa_algorithm
from conch_pipe.ssh.server.hostkeys import fingerprint
from conch_pipe.ssh.transport.signatures import verify
from tests.ssh.memory import Door
from tests.ssh.pair import Pair, RawClient, host_key
from tests.ssh.test_client import rsa_key
from tests.ssh.test_negotiation import pair_of

NEW = Key(Ed25519PrivateKey.generate())
OURS = [host_key(), rsa_key(), NEW]
GLOBAL, SUCCESS, FAILURE = 80, 81, 82


def blob(key: Key) -> bytes:
    return key.public().blob()


def a_pair(banner: bytes | None = None) -> Pair:
    """Logged in to a server with three keys."""
    return Pair(Door(OURS, Clock()), banner=banner).log_in()


def client_of(algorithm: bytes) -> type[RawClient]:
    """A client that knows no other algorithm of host keys."""
    return type("Client", (RawClient,), {"supportedPublicKeys": [algorithm]})


def ask(pair: Pair, *blobs: bytes, tail: bytes = b"") -> tuple[int, bytes]:
    """The answer to a request for proofs."""
    (answer,) = pair.send(GLOBAL, string(PROOF), b"\1", *map(string, blobs), tail)
    return answer


def test_all_host_keys_are_announced_after_the_login() -> None:
    pair = a_pair()

    (announcement,) = pair.client.announced
    reader = Reader(announcement)
    assert (reader.string(), reader.flag()) == (b"hostkeys-00@openssh.com", False)
    assert [reader.string() for _ in OURS] == [blob(key) for key in OURS]
    reader.end()


@pytest.mark.parametrize(
    ("banner", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.9", True),
        (b"SSH-2.0-OpenSSH_for_Windows_9.5", True),
        (b"SSH-2.0-AsyncSSH_2.24.1", True),
        (b"SSH-2.0-PuTTY_Release_0.78", False),
        (b"SSH-2.0-libssh2_1.11.0", False),
        (b"SSH-2.0-Go", False),
        (b"SSH-2.0-TTSSH/2.70", False),
    ],
)
def test_only_clients_that_learn_keys_are_told(banner: bytes, told: bool) -> None:
    assert bool(a_pair(banner).client.announced) is told


def test_nothing_is_announced_before_the_login() -> None:
    pair = Pair(Door(OURS, Clock())).ask_for_login()

    pair.try_password(b"wrong")

    assert pair.client.announced == []


def test_each_key_that_is_asked_for_is_proven_with_the_session_id() -> None:
    pair = a_pair()

    number, answer = ask(pair, blob(NEW), blob(rsa_key()))

    assert number == SUCCESS
    reader = Reader(answer)
    for key, algorithm in ((NEW, b"ssh-ed25519"), (rsa_key(), b"rsa-sha2-512")):
        signed = string(PROOF) + string(pair.client.sessionID) + string(blob(key))
        verify(blob(key), reader.string(), signed, algorithm)
    reader.end()


def test_the_listener_learns_who_has_learnt_which_key() -> None:
    pair = a_pair()

    ask(pair, blob(NEW), blob(rsa_key()))

    learnt = [fingerprint(NEW), fingerprint(rsa_key())]
    assert pair.door.listener.lessons == [(pair.server.peer.session, "192.0.2.7", learnt)]


STRANGER = blob(Key(Ed25519PrivateKey.generate()))


@pytest.mark.parametrize(
    "blobs",
    [
        pytest.param([], id="none"),
        pytest.param([STRANGER], id="one that is not ours"),
        pytest.param([blob(NEW), STRANGER], id="ours and another"),
        pytest.param([blob(NEW), blob(NEW)], id="one twice"),
        pytest.param([blob(key) for key in OURS] + [STRANGER], id="more than we have"),
        pytest.param([blob(NEW)] * 500, id="very many"),
        pytest.param([b""], id="an empty one"),
    ],
)
def test_no_signature_is_made_for_other_requests(blobs: list[bytes]) -> None:
    pair = a_pair()

    assert ask(pair, *blobs) == (FAILURE, b"")
    assert pair.door.listener.lessons == []
    assert ask(pair, blob(NEW))[0] == SUCCESS


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\7abc", b"\xff\xff\xff\xff", string(bytes(8193))])
def test_a_request_that_is_cut_ends_the_connection(tail: bytes) -> None:
    pair = a_pair()

    pair.send(GLOBAL, string(PROOF), b"\1", tail)

    assert pair.over
    assert pair.door.listener.lessons == []


def test_keys_are_proven_once_on_a_connection() -> None:
    """An RSA signature costs us a millisecond, the request nothing."""
    pair = a_pair()
    ask(pair, blob(NEW))

    assert ask(pair, blob(NEW)) == (FAILURE, b"")


def test_a_request_without_wanting_an_answer_gets_none() -> None:
    pair = a_pair()

    assert pair.send(GLOBAL, string(PROOF), b"\0", string(blob(NEW))) == []
    assert pair.door.listener.lessons == []


def test_other_global_requests_are_refused_as_before() -> None:
    pair = a_pair()

    for name in (b"keepalive@openssh.com", b"tcpip-forward", b"hostkeys-00@openssh.com"):
        assert pair.send(GLOBAL, string(name), b"\1", string(b"x")) == [(FAILURE, b"")]


@pytest.mark.parametrize(
    ("agreed", "offered", "chosen"),
    [
        (b"rsa-sha2-256", (b"rsa-sha2-512", b"rsa-sha2-256"), b"rsa-sha2-256"),
        (b"rsa-sha2-512", (b"rsa-sha2-256",), b"rsa-sha2-512"),
        (b"ssh-ed25519", (b"ssh-ed25519", b"rsa-sha2-256"), b"rsa-sha2-256"),
        (b"ssh-ed25519", (b"rsa-sha2-256", b"rsa-sha2-512"), b"rsa-sha2-512"),
        (b"ssh-ed25519", (b"ssh-ed25519",), b"rsa-sha2-512"),
    ],
)
def test_rsa_keys_prove_themselves_by_what_was_negotiated(
    agreed: bytes, offered: tuple[bytes, ...], chosen: bytes
) -> None:
    assert rsa_algorithm(agreed, offered) == chosen


def test_after_an_rsa_exchange_the_proof_is_by_its_algorithm() -> None:
    """OpenSSH takes no other then (clientloop.c, client_global_hostkeys_prove_confirm)."""
    pair = pair_of(Door([rsa_key(), NEW], Clock()), client_of(b"rsa-sha2-256")).log_in()

    number, answer = ask(pair, blob(rsa_key()))

    signed = string(PROOF) + string(pair.client.sessionID) + string(blob(rsa_key()))
    verify(blob(rsa_key()), Reader(answer).string(), signed, b"rsa-sha2-256")
    assert number == SUCCESS


def test_the_session_id_that_is_signed_stays_after_a_re_keying() -> None:
    pair = a_pair()
    session_id = pair.client.sessionID
    pair.client.sendKexInit()
    pair.pump()

    _, answer = ask(pair, blob(NEW))

    verify(blob(NEW), Reader(answer).string(), string(PROOF) + string(session_id) + string(blob(NEW)), b"ssh-ed25519")


# Rotation.


def test_the_first_key_of_a_kind_signs() -> None:
    for keys in (OURS, OURS[::-1]):
        pair = pair_of(Door(keys, Clock()), client_of(b"ssh-ed25519")).log_in()
        assert pair.server.peer.security.host_key == fingerprint(keys[0])


def test_a_login_by_a_key_that_is_to_go_is_told_as_such() -> None:
    for algorithm, retiring in ((b"ssh-ed25519", False), (b"rsa-sha2-512", True)):
        door = Door(OURS, Clock(), retiring=[rsa_key()])
        pair_of(door, client_of(algorithm)).log_in()
        assert door.realm.avatars[-1].peer.security.retiring is retiring
