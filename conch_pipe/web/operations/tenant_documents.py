"""The documents of organisations and credentials."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from conch_pipe.model import Credential, Organisation, State
from conch_pipe.web.documents import Given, Taken
from conch_pipe.web.operations.taking import PageQuery


class NewOrganisation(Taken):
    """A tenant to be made."""

    name: str = Field(min_length=1, max_length=63, description="1 to 63 of a-z, 0-9 and -.", examples=["acme"])
    title: str = Field("", max_length=255, description="What people call it.")
    schemas: tuple[str, ...] = Field((), max_length=1000, description="Schemas to enable at once.")


class OrganisationGiven(Given):
    """A tenant."""

    name: str
    title: str
    created_at: datetime
    schemas: tuple[str, ...] = Field(description="That it may send files of.")


class OrganisationCounted(OrganisationGiven):
    """A tenant with what it has."""

    uploads: dict[State, int] = Field(description="How many there are in each state.")
    credentials: int = Field(description="That are not revoked.")


class Organisations(Given):
    """Tenants, by name."""

    organisations: list[OrganisationGiven]
    next_cursor: str | None = None


class CredentialQuery(PageQuery):
    """Which credentials are wanted."""

    organisation: str | None = Field(None, max_length=63)


class NewCredential(Taken):
    """A credential to be made."""

    organisation: str = Field(min_length=1, max_length=63)
    label: str = Field("", max_length=255, description="What it is for, so that you know it later.")


class Rotation(Taken):
    """How long the old secret goes on working."""

    overlap_days: float = Field(7, ge=0, le=366, description="0 ends it now.")


class SecretGiven(Given):
    """A secret that works; what it is nobody knows any more."""

    created_at: datetime
    expires_at: datetime | None = Field(None, description="null: it does not.")


class CredentialGiven(Given):
    """A client_id with which a partner logs in."""

    client_id: str
    organisation: str
    label: str
    created_at: datetime
    revoked_at: datetime | None = None
    last_login_at: datetime | None = Field(None, description="To the minute.")
    schemas: tuple[str, ...] = Field(description="Enabled for its organisation.")
    secrets: list[SecretGiven] = Field(description="Those that work, newest first; two while a partner changes over.")


class CredentialWithSecret(CredentialGiven):
    """The same with its new secret, which is told this once."""

    client_secret: str = Field(repr=False, json_schema_extra={"format": "password"})


class Credentials(Given):
    """Credentials, oldest first."""

    credentials: list[CredentialGiven]
    next_cursor: str | None = None


def organisation(one: Organisation) -> OrganisationGiven:
    """A tenant."""
    return OrganisationGiven(name=one.name, title=one.title, created_at=one.created_at, schemas=one.schemas)


def counted(one: Organisation, uploads: dict[State, int], credentials: int) -> OrganisationCounted:
    """A tenant with what it has."""
    return OrganisationCounted(**organisation(one).model_dump(by_alias=False), uploads=uploads, credentials=credentials)


def credential(one: Credential) -> CredentialGiven:
    """A credential: everything but the hashes."""
    return CredentialGiven(
        client_id=one.client_id,
        organisation=one.organisation,
        label=one.label,
        created_at=one.created_at,
        revoked_at=one.revoked_at,
        last_login_at=one.last_login_at,
        schemas=one.schemas,
        secrets=[SecretGiven(created_at=each.created_at, expires_at=each.expires_at) for each in one.secrets],
    )


def with_secret(one: Credential, secret: str) -> CredentialWithSecret:
    """The same with its new secret."""
    return CredentialWithSecret(**credential(one).model_dump(by_alias=False), client_secret=secret)
