"""Our login at other servers, message by message: what is sent, when, and what is never sent."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.client.auth import ClientAuth, Credentials, signature_algorithms
from conch_pipe.ssh.client.errors import ClientError, LoginRefused
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, Reader, string, u32
from tests.conftest import CANARY

PASSWORD = b"secret " + CANARY.encode()
ED25519 = Key(Ed25519PrivateKey.generate())
ECDSA = [Key(ec.generate_private_key(curve())) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)]
RSA = Key(rsa.generate_private_key(65537, 2048))

REQUEST, FAILURE, SUCCESS, BANNER, INFO_REQUEST, INFO_RESPONSE = 50, 51, 52, 53, 60, 61


class Below:
    """The transport's part, remembering what it was asked."""

    sessionID = b"session"

    def __init__(self, algorithms: tuple[bytes, ...] | None = None) -> None:
        self.signature_algorithms = algorithms
        self.sent: list[tuple[int, bytes]] = []
        self.failed: list[ClientError] = []

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        self.sent.append((messageType, payload))

    def fail(self, error: ClientError) -> None:
        self.failed.append(error)


class Login:
    """One login; the test is the server."""

    def __init__(self, credentials: Credentials, algorithms: tuple[bytes, ...] | None = None) -> None:
        self.below = Below(algorithms)
        self.in_ = 0
        self.auth = ClientAuth(credentials, ClientLimits(), self._enter)
        self.auth.transport = self.below
        self.auth.serviceStarted()

    def _enter(self) -> None:
        self.in_ += 1

    def hear(self, number: int, *fields: bytes) -> None:
        self.auth.packetReceived(number, b"".join(fields))

    def refuse(self, methods: bytes, partial: bool = False) -> None:
        self.hear(FAILURE, string(methods), bytes((partial,)))

    def asked(self) -> list[bytes]:
        """The methods of the requests so far."""
        methods = []
        for number, payload in self.below.sent:
            if number == REQUEST:
                reader = Reader(payload)
                assert (reader.string(), reader.string()) == (b"ann", b"ssh-connection")
                methods.append(reader.string())
        return methods

    def passwords(self) -> int:
        """How often the password has gone out."""
        return sum(PASSWORD in payload for _, payload in self.below.sent)

    @property
    def refused(self) -> LoginRefused:
        (error,) = self.below.failed
        assert isinstance(error, LoginRefused)
        return error


def by_password(**options: bool) -> Credentials:
    return Credentials(b"ann", PASSWORD, **options)


def question(*prompts: tuple[bytes, bool]) -> bytes:
    rows = b"".join(string(text) + bytes((echo,)) for text, echo in prompts)
    return string(b"") + string(b"") + string(b"") + u32(len(prompts)) + rows


def test_a_password_logs_in():
    login = Login(by_password())
    assert login.asked() == [b"password"]

    login.hear(SUCCESS)

    assert (login.in_, login.passwords(), login.below.failed) == (1, 1, [])


def test_a_wrong_password_is_sent_once_and_the_error_says_what_the_server_takes():
    login = Login(by_password())

    login.refuse(b"publickey,password,keyboard-interactive")

    assert login.passwords() == 1
    assert login.refused.methods == ("publickey", "password", "keyboard-interactive")
    assert login.refused.tried == ("password",)
    assert CANARY not in str(login.refused)


def test_a_server_with_keyboard_interactive_alone_gets_the_password_as_the_answer():
    login = Login(by_password())
    login.refuse(b"keyboard-interactive")
    assert login.asked() == [b"password", b"keyboard-interactive"]

    login.hear(INFO_REQUEST, question((b"Password: ", False)))
    assert login.below.sent[-1] == (INFO_RESPONSE, u32(1) + string(PASSWORD))
    login.hear(INFO_REQUEST, question())
    assert login.below.sent[-1] == (INFO_RESPONSE, u32(0))
    login.hear(SUCCESS)

    assert login.in_ == 1


def test_keyboard_interactive_can_be_switched_off():
    login = Login(by_password(keyboard_interactive=False))

    login.refuse(b"keyboard-interactive")

    assert login.refused.methods == ("keyboard-interactive",)
    assert login.asked() == [b"password"]


@pytest.mark.parametrize(
    "asked",
    [question((b"Password: ", False), (b"Code: ", False)), question((b"Your name: ", True))],
    ids=["two questions", "a question whose answer is shown"],
)
def test_other_questions_than_for_a_password_are_not_answered(asked):
    login = Login(by_password())
    login.refuse(b"keyboard-interactive")

    login.hear(INFO_REQUEST, asked)

    assert "asks for" in str(login.refused)
    assert login.passwords() == 1, "only in the request that the server did not look at"


def test_a_second_question_does_not_get_the_password_again():
    login = Login(by_password())
    login.refuse(b"keyboard-interactive")
    login.hear(INFO_REQUEST, question((b"Password: ", False)))

    login.hear(INFO_REQUEST, question((b"Again: ", False)))

    assert login.passwords() == 2
    assert login.refused.tried == ("password", "keyboard-interactive")


def test_a_code_asked_for_after_the_password_does_not_get_the_password():
    login = Login(by_password())

    login.refuse(b"keyboard-interactive", partial=True)

    assert login.passwords() == 1
    assert login.refused.methods == ("keyboard-interactive",)
    assert login.refused.accepted == ("password",)
    assert str(login.refused).startswith("password accepted, but the server wants one more step; tried password")


def test_a_code_asked_for_after_the_answer_to_a_question_is_a_step_that_we_do_not_take():
    login = Login(by_password())
    login.refuse(b"keyboard-interactive")
    login.hear(INFO_REQUEST, question((b"Password: ", False)))

    login.refuse(b"keyboard-interactive", partial=True)

    assert login.refused.accepted == ("keyboard-interactive",)
    assert "one more step" in str(login.refused)


def test_a_wrong_password_is_no_further_step():
    login = Login(by_password())

    login.refuse(b"password")

    assert login.refused.accepted == ()
    assert str(login.refused).startswith("the login was refused; tried password")


def test_a_demand_for_a_new_password_is_refused():
    login = Login(by_password())

    login.hear(INFO_REQUEST, string(b"Your password has \x1b expired"), string(b""))

    assert str(login.refused).startswith(
        "the password has expired: the server wants a new password first; tried password"
    )
    assert login.passwords() == 1


@pytest.mark.parametrize("key", [ED25519, *ECDSA], ids=["ed25519", "nistp256", "nistp384", "nistp521"])
def test_a_key_is_shown_with_a_signature_that_fits(key):
    login = Login(Credentials(b"ann", key=key))

    check_signature(login, key, key.sshType())


def check_signature(login: Login, key: Key, algorithm: bytes) -> None:
    ((number, payload),) = login.below.sent
    reader = Reader(payload)
    head = string(reader.string()) + string(reader.string()) + string(reader.string()) + bytes((reader.byte(),))
    named, blob, signature = reader.string(), reader.string(), reader.string()
    reader.end()
    signed = string(b"session") + bytes((number,)) + head + string(named) + string(blob)
    assert (named, Reader(signature).string(), blob) == (algorithm, algorithm, key.public().blob())
    assert key.public().verify(signature, signed)


@pytest.mark.parametrize(
    ("told", "used"),
    [
        (None, b"rsa-sha2-512"),
        ((b"ssh-ed25519", b"rsa-sha2-256", b"rsa-sha2-512", b"ssh-rsa"), b"rsa-sha2-512"),
        ((b"ssh-rsa", b"rsa-sha2-256"), b"rsa-sha2-256"),
    ],
)
def test_an_rsa_key_signs_with_sha_2_as_the_server_takes_it(told, used):
    """Conch's own client signs with SHA-1, which sshd refuses."""
    login = Login(Credentials(b"ann", key=RSA), told)

    check_signature(login, RSA, used)


def test_cve_2026_44405_an_rsa_key_is_never_used_with_sha_1():
    login = Login(Credentials(b"ann", PASSWORD, RSA), (b"ssh-rsa", b"ssh-ed25519"))

    assert login.asked() == [b"password"]


def test_a_server_that_wants_both_gets_key_and_password():
    login = Login(Credentials(b"ann", PASSWORD, ED25519))
    login.refuse(b"password", partial=True)
    login.hear(SUCCESS)

    assert login.asked() == [b"publickey", b"password"]
    assert login.in_ == 1


@pytest.mark.parametrize("method", [b"password", b"keyboard-interactive"])
def test_a_server_that_wants_the_password_before_the_key_gets_both(method):
    """sshd with "AuthenticationMethods password,publickey" does not look at a key shown first."""
    login = Login(Credentials(b"ann", PASSWORD, ED25519))
    login.refuse(method)
    if method == b"keyboard-interactive":
        login.hear(INFO_REQUEST, question((b"Password: ", False)))
    login.refuse(b"publickey", partial=True)
    login.hear(SUCCESS)

    assert login.asked() == [b"publickey", method, b"publickey"]
    assert (login.in_, login.passwords()) == (1, 1)


def test_a_server_that_wants_the_key_and_then_an_answer_gets_both():
    login = Login(Credentials(b"ann", PASSWORD, ED25519))
    login.refuse(b"keyboard-interactive", partial=True)
    login.hear(INFO_REQUEST, question((b"Password: ", False)))
    login.hear(SUCCESS)

    assert login.asked() == [b"publickey", b"keyboard-interactive"]
    assert (login.in_, login.passwords()) == (1, 1)


def test_a_key_is_shown_twice_at_most():
    login = Login(Credentials(b"ann", PASSWORD, ED25519))
    login.refuse(b"password")
    login.refuse(b"publickey", partial=True)

    login.refuse(b"password")

    assert login.asked() == [b"publickey", b"password", b"publickey"]
    assert login.refused.tried == ("publickey", "password", "publickey")


def test_which_of_two_steps_was_wrong_is_said():
    login = Login(Credentials(b"ann", PASSWORD, ED25519))
    login.refuse(b"password", partial=True)

    login.refuse(b"password")

    assert str(login.refused).startswith("publickey accepted, password refused; tried publickey, password")
    assert login.refused.accepted == ("publickey",)


def test_a_server_that_wants_two_keys_gets_one():
    login = Login(Credentials(b"ann", key=ED25519))

    login.refuse(b"publickey", partial=True)

    assert login.asked() == [b"publickey"]
    assert login.refused.accepted == ("publickey",)


def test_a_refused_key_is_not_shown_again():
    login = Login(Credentials(b"ann", key=ED25519))

    login.refuse(b"publickey,password")

    assert login.asked() == [b"publickey"]
    assert login.refused.tried == ("publickey",)


def test_banners_are_read_and_forgotten_up_to_a_bound():
    login = Login(by_password())
    for _ in range(16):
        login.hear(BANNER, string(b"Welcome \xff\x1b[2J"), string(b""))

    with pytest.raises(Malformed, match="banners"):
        login.hear(BANNER, string(b"Welcome"), string(b""))


def test_a_banner_larger_than_the_bound_is_too_much():
    login = Login(by_password())

    with pytest.raises(Malformed, match="banners"):
        login.hear(BANNER, string(b"x" * 65_536), string(b""))


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (FAILURE, b""),
        (FAILURE, u32(2**32 - 1)),
        (FAILURE, string(b"password")),
        (FAILURE, string(b"password") + b"\0\0"),
        (FAILURE, string(b"x," * 513) + b"\0"),
        (SUCCESS, b"x"),
        (BANNER, u32(5)),
        (INFO_REQUEST + 1, b""),
        (REQUEST, b""),
        (54, b""),
    ],
)
def test_a_malformed_message_during_the_login_is_broken_off(number, body):
    login = Login(by_password())

    with pytest.raises(Malformed):
        login.hear(number, body)


@pytest.mark.parametrize("prompts", [u32(2**32 - 1), u32(1), u32(0) + b"x", u32(1) + string(b"Password: ")])
def test_a_malformed_question_is_broken_off_or_refused(prompts):
    login = Login(by_password())
    login.refuse(b"keyboard-interactive")
    sent = len(login.below.sent)

    try:
        login.hear(INFO_REQUEST, string(b""), string(b""), string(b""), prompts)
    except Malformed:
        pass
    else:
        assert login.refused

    assert len(login.below.sent) == sent


def test_questions_without_prompts_do_not_go_on_for_ever():
    login = Login(by_password())
    login.refuse(b"keyboard-interactive")
    for _ in range(8):
        login.hear(INFO_REQUEST, question())

    with pytest.raises(Malformed, match="too many questions"):
        login.hear(INFO_REQUEST, question())


@pytest.mark.parametrize("number", [SUCCESS, FAILURE, INFO_REQUEST])
def test_cve_2025_47913_an_answer_to_nothing_is_broken_off(number):
    login = Login(by_password())
    login.refuse(b"password")  # over
    login.below.failed.clear()

    with pytest.raises(Malformed):
        login.hear(number, string(b"password") + b"\0" if number == FAILURE else b"")
    assert login.in_ == 0


def test_a_key_asked_for_that_was_shown_already_is_broken_off():
    login = Login(Credentials(b"ann", key=ED25519))

    with pytest.raises(Malformed):
        login.hear(INFO_REQUEST, string(b"ssh-ed25519"), string(ED25519.public().blob()))


@pytest.mark.parametrize("user", [b"", b"a\0b", b"a\nb", b"a\rb", b"a\x7fb", b"x" * 256])
def test_cve_2025_61984_a_user_name_with_control_characters_is_no_credential(user):
    with pytest.raises(ValueError, match="user name"):
        Credentials(user, PASSWORD)


def test_a_key_that_cannot_sign_is_no_credential():
    with pytest.raises(ValueError, match="not a private"):
        Credentials(b"ann", key=ED25519.public())
    with pytest.raises(ValueError, match="neither"):
        Credentials(b"ann")


def test_no_secret_is_in_a_repr():
    """``repr`` of a Conch key prints its private numbers."""
    shown = repr(Credentials(b"ann", PASSWORD, RSA))

    assert CANARY not in shown
    assert "RSA" not in shown


def sig_algs(*names: bytes) -> bytes:
    return string(b"server-sig-algs") + string(b",".join(names))


def test_the_servers_signature_algorithms_are_read():
    other = string(b"no-flow-control") + string(b"s")

    assert signature_algorithms(u32(2) + other + sig_algs(b"a", b"b"), ClientLimits()) == (b"a", b"b")
    assert signature_algorithms(u32(1) + other, ClientLimits()) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        u32(2**32 - 1),
        u32(2**32 - 1) + (string(b"") + string(b"")) * 1_000,
        u32(0) + b"x",
        u32(1) + string(b"server-sig-algs"),
        u32(1) + sig_algs(*[b"a"] * 65),
        u32(1) + string(b"x") + string(b"x" * 16_384),
    ],
    ids=["empty", "a count alone", "a count too high", "more bytes", "no value", "65 names", "16 KiB"],
)
def test_cve_2026_55199_ext_info_is_bounded(payload):
    with pytest.raises(Malformed):
        signature_algorithms(payload, ClientLimits())
