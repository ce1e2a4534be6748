"""Who works with the service itself: people and programs of the operator, and an organisation's own people."""

from __future__ import annotations

import base64
import hmac
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What somebody may do besides looking; each stands for itself."""

    READ = "read"  # everything but secrets and the content of files
    UPLOADS = "uploads"  # process one again, have its raw copy
    RECORDINGS = "recordings"  # submit and retry
    REMOTES = "remotes"  # remotes and environments: add, change, test, trust, remove
    WEBHOOKS = "webhooks"  # add, test, enable, remove
    TENANTS = "tenants"  # organisations, credentials, which schemas are enabled


class Position(StrEnum):
    """What a person is."""

    OPERATOR = "operator"  # of the service: sees all organisations, has every scope
    MEMBER = "member"  # of one organisation: looks at what is its


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, after the proof: a program with a token or a person who signed in.

    :ivar name: of the token or person, for events.
    :ivar organisation: all that is seen; None: every organisation. What is of another one does not exist.
    """

    name: str
    scopes: frozenset[Scope]
    organisation: str | None = None

    def may(self, scope: Scope) -> bool:
        """Whether this is among what it may do."""
        return scope in self.scopes

    def sees(self, organisation: str) -> bool:
        """Whether what is of that organisation exists for it."""
        return self.organisation in (None, organisation)


@dataclass(frozen=True, slots=True)
class Token:
    """What a program shows; the text itself is told once and never kept.

    :ivar token_id: 12 of a-z and 0-9, for lists and commands; also the beginning of the text.
    """

    token_id: str
    name: str
    scopes: frozenset[Scope]
    organisation: str | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None  # to the hour


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in.

    :ivar name: what is typed at the sign-in, ``[a-z0-9][a-z0-9.@_-]{0,99}``.
    :ivar organisation: of a member; None: an operator.
    """

    name: str
    position: Position
    organisation: str | None
    created_at: datetime
    disabled_at: datetime | None = None
    last_sign_in_at: datetime | None = None


def password_digest(password: str) -> bytes:
    """What bcrypt is given for a password: 44 ASCII characters, however long it is and whichever way it was typed.

    bcrypt itself reads 72 bytes and stops at a NUL. Under a name of our own: lists of plain SHA-256 do not help.
    """
    typed = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(b"pipe-sftp password", typed, "sha256"))
