"""Who may use the operations API and the dashboard."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import Interface

from conch_pipe.model import Actor, Peer


class ITokens(Interface):
    """Tokens of programs. Implemented in ``catalog``."""

    def actor(text: str) -> Deferred[Actor | None]:
        """Who shows this token; also notes, once an hour, that it was used.

        :param text: as it came; may be anything.
        :returns: None: no such token, or it is revoked or expired.
        :raises PipeError: BUSY.
        """


class IPeople(Interface):
    """People and their sessions. Implemented in ``catalog``. Passwords are checked in ``login``."""

    def password(name: str) -> Deferred[bytes | None]:
        """The bcrypt hash of an enabled person's password, of ``model.password_digest``.

        :raises PipeError: BUSY.
        """

    def begin(name: str, hashed: bytes) -> Deferred[str]:
        """A person has signed in: a session.

        :param hashed: what the password was checked against.
        :returns: its secret text, for the cookie; only its hash is kept.
        :raises PipeError: UNAUTHORIZED: meanwhile the person is disabled or gone, or has a new password; BUSY.
        """

    def session(text: str) -> Deferred[Actor | None]:
        """Who has that session; a look also keeps it alive.

        :param text: as it came; may be anything.
        :returns: None: no such session; 12 h without a request; 7 days old; the person is disabled or has a new
            password.
        :raises PipeError: BUSY.
        """

    def end(text: str) -> Deferred[None]:
        """Signed out. Again is no error."""

    def sweep() -> Deferred[int]:
        """Delete sessions that are over; how many they were. For the upkeep."""


class ISignIns(Interface):
    """Whether a name and a password are right. Implemented in ``login``; shares the count of failures with ILogin."""

    def check(name: str, password: str, peer: Peer, waits: Callable[[], bool]) -> Deferred[str]:
        """Sign in. Whatever is wrong, the failure has the same words after the same time.

        :param name: as it came; may be anything. So may the password, which is not kept and never told.
        :param waits: whether somebody is still there when the answer is known; without, no session begins.
        :returns: the secret text of a new session, see :meth:`IPeople.begin`.
        :raises PipeError: UNAUTHORIZED; BUSY, nobody could tell now.
        """

    def start() -> None:
        """The door starts: before the first ``check``."""

    def stop() -> None:
        """It has stopped."""
