"""A server's messages while our client logs in."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.client.auth import Credentials, signature_algorithms
from conch_pipe.ssh.client.errors import LoginRefused
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, string
from tests.fuzz.messages import MESSAGES
from tests.fuzz.meters import Lines
from tests.fuzz.targets import in_messages, some_messages
from tests.ssh.test_client_auth import PASSWORD, Login, question

_KEY = Key(Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1"))
_CREDENTIALS = (
    Credentials(b"ann", PASSWORD),
    Credentials(b"ann", key=_KEY),
    Credentials(b"ann", PASSWORD, key=_KEY),
)


def seeds() -> list[bytes]:
    """What servers say: refusals, questions, banners, success."""
    refusal = (51, string(b"publickey,password,keyboard-interactive") + b"\0")
    talks = [
        [refusal],
        [(53, string(b"hello\n") + string(b"")), (52, b"")],
        [(51, string(b"keyboard-interactive") + b"\0"), (60, question((b"Password: ", False))), (52, b"")],
        [(51, string(b"password") + b"\1"), (52, b"")],
        [refusal, (60, question()), (60, question((b"a", True), (b"b", False)))],
        [(60, string(b"ssh-ed25519") + string(_KEY.public().blob())), refusal],
        *[[(number, b"".join(fields))] for number in (6, 7, 51, 52, 53, 60, 61, 80) for fields in MESSAGES[number]],
    ]
    return [bytes((which,)) + in_messages(talk) for which in range(len(_CREDENTIALS)) for talk in talks]


def one(data: bytes) -> None:
    """In, refused or broken off; the password goes out once by each method at most, and into no log."""
    if not data:
        return
    with Lines() as lines:
        login = Login(_CREDENTIALS[data[0] % len(_CREDENTIALS)])
        for number, body in some_messages(data[1:]):
            if login.in_ or login.below.failed:
                break
            try:
                if number == 7:
                    signature_algorithms(body, ClientLimits())
                else:
                    login.hear(number, body)
            except Malformed:
                break
        assert login.passwords() <= 2  # a server without "password" may ask for it as an answer
        assert login.in_ + len(login.below.failed) <= 1
        assert all(isinstance(error, LoginRefused) and str(error).isprintable() for error in login.below.failed)
        assert lines.take() == []
