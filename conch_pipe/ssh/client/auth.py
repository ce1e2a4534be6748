"""Logging in to another server: a key, a password once, or keyboard-interactive with one question for the password.

Starts when the host key has been accepted and never before. What was not granted ends as one
:class:`~conch_pipe.ssh.client.errors.LoginRefused`. Never logs or repeats a secret.

:source: RFC 4252, RFC 4256, RFC 8308 section 3.1, RFC 8332.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, cast

from twisted.conch.ssh import userauth
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService

from conch_pipe.ssh.client.errors import ClientError, LoginRefused
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.fields import Malformed, Reader, printable, string, u32
from conch_pipe.ssh.keys.private import PrivateKey

_SERVICE = b"ssh-connection"
_METHODS = ("publickey", "password", "keyboard-interactive")  # in the order we try them
# SHA-1 is not among them: a server that takes nothing else is not logged in to by an RSA key.
_RSA = (b"rsa-sha2-512", b"rsa-sha2-256")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and with what; with both, a server that wants both gets both.

    :param user: 1 to 255 bytes without control characters.
    :param password: sent once on a connection.
    :param key: private: Ed25519, ECDSA on a NIST curve or RSA; kept as Conch's.
    :param keyboard_interactive: the password may also be the answer to the only question of that method.
    :raises ValueError: of the wrong shape, without what it is.
    """

    user: bytes
    password: bytes | None = field(default=None, repr=False)
    key: Key | PrivateKey | None = field(default=None, repr=False)
    keyboard_interactive: bool = True

    def __post_init__(self) -> None:
        if not 0 < len(self.user) <= 255 or any(byte < 32 or byte == 127 for byte in self.user):
            raise ValueError("a user name is empty, too long or has a control character")  # CVE-2025-61984
        if self.password is None and self.key is None:
            raise ValueError("there is neither a password nor a key")
        if isinstance(self.key, PrivateKey):
            object.__setattr__(self, "key", self.key.conch)
        elif self.key is not None and (self.key.isPublic() or self.key.type() not in ("Ed25519", "EC", "RSA")):
            raise ValueError("the key is not a private Ed25519, ECDSA or RSA key")


class LoginTransport(Protocol):
    """What the login needs of the connection below it."""

    sessionID: bytes
    signature_algorithms: Sequence[bytes] | None  # the server's server-sig-algs, if it told them

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send."""

    def fail(self, error: ClientError) -> None:
        """End the connection."""


class ClientAuth(SSHService):
    """The service ssh-userauth, from our side.

    :param logged_in: called once the server has said SUCCESS.
    """

    name = b"ssh-userauth"
    transport: LoginTransport  # type: ignore[assignment]

    def __init__(self, credentials: Credentials, limits: ClientLimits, logged_in: Callable[[], None]) -> None:
        self._credentials = credentials
        self._limits = limits
        self._logged_in = logged_in
        self._asked: str | None = None  # the method whose answer we wait for
        self._tried: list[str] = []  # in order
        self._spent: set[str] = set()  # of no more use
        self._accepted: list[str] = []  # and the server wants more
        self._again = False  # the key is tried a second time
        self._judged = False  # the server has looked at the password
        self._offered: tuple[str, ...] = ()
        self._banners = self._banner_bytes = self._questions = 0

    def serviceStarted(self) -> None:
        """The server takes logins. What it takes it says only with a refusal, so we begin with what we have."""
        self._next(None)

    def serviceStopped(self) -> None:
        """Logged in, or gone."""
        self._asked = None

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """A message of numbers 50 to 79.

        :raises Malformed: it is not what we wait for.
        """
        read = self._messages.get(messageNum)
        if read is None or (self._asked is None and messageNum != userauth.MSG_USERAUTH_BANNER):
            raise Malformed(f"message {messageNum} came during the login")
        read(self, Reader(packet))

    # Messages.

    def _success(self, reader: Reader) -> None:
        reader.end()
        self._asked = None
        self._logged_in()

    def _failure(self, reader: Reader) -> None:
        names, partial = reader.string(self._limits.methods), reader.flag()
        reader.end()
        offered = tuple(printable(name, 64) for name in names.split(b",") if name)
        if self._asked != "publickey":
            # A server that does not have "password" has not looked at ours: it may still ask for it another way.
            self._judged = self._judged or partial or self._asked in offered or self._asked != "password"
        elif not partial and "publickey" not in offered and not self._again:
            # Not looked at: sshd with "AuthenticationMethods password,publickey" takes the key after the password.
            self._again = True
            self._spent.discard("publickey")
        if partial and self._asked is not None:
            self._accepted.append(self._asked)
        self._offered = offered
        self._next(offered)

    def _banner(self, reader: Reader) -> None:
        self._banners += 1
        self._banner_bytes += reader.left
        if self._banners > self._limits.banners or self._banner_bytes > self._limits.banner:
            raise Malformed("too many banners")
        reader.view()
        reader.view()
        reader.end()

    def _question(self, reader: Reader) -> None:
        # The meaning of 60 depends on the method.
        if self._asked == "password":
            # PASSWD_CHANGEREQ; its text is the server's and stays there.
            self._refused("the password has expired: the server wants a new password first")
        elif self._asked == "keyboard-interactive":
            self._answer(reader)
        else:
            raise Malformed("a key was asked for that we have shown already")

    def _answer(self, reader: Reader) -> None:
        _name, _instruction, _language = reader.view(), reader.view(), reader.view()
        prompts = reader.u32()
        self._questions += 1
        if self._questions > self._limits.prompts:
            raise Malformed("too many questions")
        if prompts == 0:
            reader.end()
            self.transport.sendPacket(userauth.MSG_USERAUTH_INFO_RESPONSE, u32(0))
            return
        if prompts > 1:
            self._refused("the server asks for more than a password")
            return
        _prompt, echo = reader.view(), reader.flag()
        reader.end()
        password = self._credentials.password
        if echo or self._judged or password is None:
            self._refused("the server asks for something else than the password")
            return
        self._judged = True
        self.transport.sendPacket(userauth.MSG_USERAUTH_INFO_RESPONSE, u32(1) + string(password))

    _messages: ClassVar[dict[int, Callable[[ClientAuth, Reader], None]]] = {
        userauth.MSG_USERAUTH_SUCCESS: _success,
        userauth.MSG_USERAUTH_FAILURE: _failure,
        userauth.MSG_USERAUTH_BANNER: _banner,
        userauth.MSG_USERAUTH_INFO_REQUEST: _question,
    }

    # Trying.

    def _next(self, offered: tuple[str, ...] | None) -> None:
        """Try the next method that we have and the server takes."""
        for method in _METHODS:
            if method in self._spent or (offered is not None and method not in offered):
                continue
            fields = self._fields(method, known=offered is not None)
            if fields is not None:
                self._tried.append(method)
                self._spent.add(method)
                self._asked = method
                head = string(self._credentials.user) + string(_SERVICE) + string(method.encode())
                self.transport.sendPacket(userauth.MSG_USERAUTH_REQUEST, head + fields)
                return
        accepted = " and ".join(self._accepted)
        if not accepted:
            self._refused("the login was refused")
        elif self._asked == self._accepted[-1]:
            self._refused(f"{accepted} accepted, but the server wants one more step")
        else:
            self._refused(f"{accepted} accepted, {self._asked} refused")

    def _fields(self, method: str, known: bool) -> bytes | None:
        """What a request of this method carries; None when it makes no sense now.

        :param known: the server has said what it takes.
        """
        password = self._credentials.password
        if method == "publickey":
            return self._signed()
        if password is None:
            return None
        if method == "password":
            return None if self._judged else b"\0" + string(password)
        if not known or self._judged or not self._credentials.keyboard_interactive:
            return None
        return string(b"") + string(b"")

    def _signed(self) -> bytes | None:
        """The key and its signature at once: asking first whether it would do costs waiting for the server once."""
        key = cast("Key | None", self._credentials.key)
        algorithm = self._algorithm(key) if key is not None else None
        if key is None or algorithm is None:
            return None
        fields = b"\1" + string(algorithm) + string(key.blob())
        user = self._credentials.user
        signed = (
            string(self.transport.sessionID)
            + bytes((userauth.MSG_USERAUTH_REQUEST,))
            + string(user)
            + string(_SERVICE)
            + string(b"publickey")
            + fields
        )
        return fields + string(key.sign(signed, signatureType=algorithm))

    def _algorithm(self, key: Key) -> bytes | None:
        """How the key signs here. Only for RSA is there a choice (Conch's client has none and signs with SHA-1)."""
        if key.type() != "RSA":
            return key.sshType()
        told = self.transport.signature_algorithms
        if told is None:
            return _RSA[0]
        return next((name for name in _RSA if name in told), None)

    def _refused(self, why: str) -> None:
        self._asked = None
        self.transport.fail(LoginRefused(why, self._offered, self._tried, self._accepted))


def signature_algorithms(payload: bytes, limits: ClientLimits) -> tuple[bytes, ...] | None:
    """What EXT_INFO says of ``server-sig-algs``; None when it says nothing.

    :raises Malformed: it is too long, or not what RFC 8308 section 2.3 says.
    """
    if len(payload) > limits.extension_info:
        raise Malformed("EXT_INFO is too long")
    reader = Reader(payload)
    found = None
    for _ in range(reader.u32()):
        name, value = reader.view(), reader.view()
        if name == b"server-sig-algs":
            names = bytes(value).split(b",")
            if len(names) > limits.signature_algorithms:
                raise Malformed("too many signature algorithms")
            found = tuple(names)
    reader.end()
    return found
