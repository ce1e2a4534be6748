"""The documents of remotes: what is taken, with secrets that never come back, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from conch_pipe.model import Remote as Found
from conch_pipe.model.remotes import LONGEST
from conch_pipe.ssh.keys import algorithm, fingerprint
from conch_pipe.web.documents import Error, Given, Taken
from conch_pipe.web.operations.taking import PageQuery

Fingerprint = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}=?$")]
Kind = Literal["rsa-4096", "ed25519"]
ANY = "yes-i-know"
_SECRET: Any = {"format": "password", "writeOnly": True}


class RemotesQuery(PageQuery):
    """Which remotes are wanted."""

    organisation: str | None = Field(None, max_length=63)


class RemoteChanges(Taken):
    """What to change of a remote; what is not there stays. The rules for each field are those of conch-pipe."""

    host: str | None = Field(None, description="IPv4 address or domain name.", examples=["sftp.acme.example"])
    port: int | None = Field(None, ge=1, le=65_535, description="22, when a new remote has none.")
    username: str | None = Field(None, max_length=LONGEST, description="As the server knows it; case-sensitive.")
    password: str | None = Field(
        None, description="Never answered; null takes it away.", repr=False, json_schema_extra=_SECRET
    )
    private_key: str | None = Field(
        None,
        max_length=60_000,
        description="OpenSSH, PEM, PKCS#8, PuTTY (.ppk) or ssh.com. Never answered; null takes it away.",
        repr=False,
        json_schema_extra=_SECRET,
    )
    passphrase: str | None = Field(
        None, description="Opens the private key; not kept.", repr=False, json_schema_extra=_SECRET
    )
    generate_key: Kind | None = Field(None, description="A new key, whose public half is answered.")
    folder: str | None = Field(
        None,
        max_length=LONGEST,
        description="Must exist; looked for in the login folder unless it begins with /; empty: the login folder.",
    )
    max_connections: int | None = Field(None, ge=1, le=100, description="At a time; 25, when a new remote has none.")
    source_address: str | None = Field(
        None, max_length=LONGEST, description="IPv4 address of the service to connect from; empty: the system's choice."
    )
    algorithms: str | None = Field(None, description="Preset: default-2026, strict-2026 or legacy-2026.")
    temporary_names: bool | None = Field(None, description="Send under a temporary name and rename.")
    marker: str | None = Field(
        None,
        max_length=LONGEST,
        description="Name of an empty file put after each whole group, such as {NAME}.done; empty: none.",
    )
    chunk_size: int | None = Field(None, ge=0, description="Bytes of one WRITE; 0: what the server says.")
    host_keys: list[str] | None = Field(
        None, max_length=20, description="The server's public host keys as text; they take the place of the old ones."
    )
    any_host_key: Literal["yes-i-know", "no"] | None = Field(
        None,
        description="yes-i-know takes whatever host key is shown. INSECURE: whoever answers there gets the password.",
    )

    def filled(self) -> dict[str, Any]:
        """By the names of the operation: what was given, and null where that takes away."""
        found = {
            name: value
            for name in self.model_fields_set
            if (value := getattr(self, name)) is not None or name in ("password", "private_key")
        }
        if "any_host_key" in found:
            found["any_host_key"] = found["any_host_key"] == ANY
        return found


class RemoteForm(RemoteChanges):
    """A new remote. It needs a password, a key or both."""

    name: str = Field(description="1 to 63 of a-z, 0-9 and -.", examples=["acme-eu"])
    organisation: str = Field(examples=["acme"])
    host: str = Field(description="IPv4 address or domain name.", examples=["sftp.acme.example"])
    username: str = Field(max_length=LONGEST, description="As the server knows it; case-sensitive.")


class HostKey(Given):
    """A host key that is trusted."""

    type: str = Field(examples=["ssh-ed25519"])
    fingerprint: str
    added_at: datetime
    origin: str = Field(description='"given", "learnt" by a first test, or "trusted" after a change.')


class Warning(Given):  # noqa: A001 - what it is
    """Something that is wrong or dangerous."""

    code: str = Field(
        description="Stable: any_host_key, no_host_key, host_key, credentials, disabled or address; programs go by it."
    )
    message: str


class Remote(Given):
    """A remote: everything but its secrets."""

    name: str
    organisation: str
    host: str
    port: int
    username: str
    folder: str
    max_connections: int
    source_address: str
    algorithms: str
    temporary_names: bool
    marker: str
    chunk_size: int
    password: bool = Field(description="Whether there is one.")
    public_key: str = Field(description="Of its private key, as a line of authorized_keys; empty: there is none.")
    host_keys: list[HostKey]
    any_host_key: bool
    enabled: bool
    disabled_reason: str
    disabled_at: datetime | None
    refused_host_key: str | None = Field(description="Fingerprint of the key that it showed instead of a trusted one.")
    created_at: datetime
    changed_at: datetime | None
    warnings: list[Warning]


class Remotes(Given):
    """Remotes, by name."""

    remotes: list[Remote]
    next_cursor: str | None = Field(None, description="For the next page; null: there is none.")


class TestStep(Given):
    """One thing that was tried."""

    step: str = Field(description="address, connection, host key, login, folder, probe file.")
    level: Literal["ok", "warn", "fail", "skip"]
    words: str
    status: str | None = Field(description="What the push log would have, had an attempt failed here.")
    reason: str
    host_key: str | None = Field(description="Fingerprint of the key that was shown and is not trusted.")


class RemoteTest(Given):
    """How a test went."""

    remote: str
    ok: bool = Field(description="Recordings could be pushed.")
    steps: list[TestStep]
    warnings: list[Warning]


class TrustRequest(Taken):
    """Which host key to trust: the fingerprint that the owner of the server has told you by another way."""

    fingerprint: Fingerprint
    keep_old: bool = Field(False, description="Go on trusting the old keys, too.")


class TrustError(Error):
    """What is wrong, and what is shown now when it is another key."""

    shown: str | None = Field(None, description="Fingerprint of the host key that the server shows now.")
    shown_type: str | None = Field(None, serialization_alias="shownType", description="Its type.")


class TrustRefusal(Given):
    """Nothing was changed."""

    error: TrustError


class KeyRequest(Taken):
    """Which kind of key to make."""

    type: Kind = Field("rsa-4096", description="rsa-4096 is taken by every server, ed25519 is shorter and faster.")


class PublicKey(Given):
    """The public half of a new key."""

    remote: str
    public_key: str = Field(description="A line for authorized_keys on the server.")
    fingerprint: str


class RemoteRemoved(Given):
    """It is gone."""

    name: str
    given_up: int = Field(description="Recordings that waited for it and never reach it.")


def remote(document: dict[str, Any], concerns: Any) -> Remote:
    """A remote as the operation tells it."""
    return Remote(**document, warnings=warnings(concerns))


def warnings(concerns: Any) -> list[Warning]:
    """What is wrong or dangerous."""
    return [Warning(code=one.word, message=one.words) for one in concerns]


def steps(found: Any) -> list[TestStep]:
    """What was tried."""
    return [
        TestStep(
            step=one.name,
            level=one.level,
            words=one.words,
            status=None if one.status is None else one.status.value,
            reason=one.reason,
            host_key=fingerprint(one.host_key) if one.host_key else None,
        )
        for one in found
    ]


def another_key(found: Found, blob: bytes, wanted: str) -> TrustRefusal:
    """It shows another key than the wanted one."""
    shown = fingerprint(blob)
    words = f"{found.host} shows {shown}, not {wanted}; nothing was changed"
    return TrustRefusal(
        error=TrustError(code="conflict", message=words, mistakes=None, shown=shown, shown_type=algorithm(blob))
    )
