"""Who may use the operations API and the dashboard."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Interface

from conch_pipe.model import Actor


class ITokens(Interface):
    """Tokens of programs. Implemented in ``catalog``."""

    def actor(text: str) -> Deferred[Actor | None]:
        """Who shows this token; also notes, once an hour, that it was used.

        :param text: as it came; may be anything.
        :returns: None: no such token, or it is revoked or expired.
        :raises PipeError: BUSY.
        """


class IPeople(Interface):
    """People and their sessions. Implemented in ``catalog``. Passwords are checked by the caller, in a thread."""

    def password(name: str) -> Deferred[bytes | None]:
        """The bcrypt hash of an enabled person's password."""

    def begin(name: str) -> Deferred[str]:
        """A person has signed in: a session. :returns: its secret text, for the cookie; only its hash is kept."""

    def session(text: str) -> Deferred[Actor | None]:
        """Who has that session; a look also keeps it alive.

        :returns: None: no such session; 12 h without a request; 7 days old; the person is disabled or has a new
            password.
        """

    def end(text: str) -> Deferred[None]:
        """Signed out. Again is no error."""
