"""Servers we talk to, and what lets us in. Secrets are apart: a Remote may be shown to anybody who runs the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

LONGEST = 100  # characters of a host, user name, password or folder, as the source has it
CONNECTIONS = 25
PORT = 22


@dataclass(frozen=True, slots=True)
class Pin:
    """A host key that is trusted for a remote."""

    blob: bytes  # of the public key, RFC 4253 section 6.6
    added_at: datetime
    origin: str  # "given" by the operator, "learnt" by a test, "trusted" after a change


@dataclass(frozen=True, slots=True)
class Remote:
    """A server that takes recordings."""

    name: str  # unique, ``[a-z0-9][a-z0-9-]{0,62}``
    organisation: str
    host: str  # IPv4 address or domain name
    username: str
    created_at: datetime
    port: int = PORT
    folder: str = ""  # relative to the login folder unless it begins with "/"; must exist; empty: the login folder
    max_connections: int = CONNECTIONS
    source_address: str = ""  # IPv4 address of ours to connect from; empty: the system's choice
    algorithms: str = "default-2026"  # a preset of ``ssh.transport.algorithms.CLIENT``
    temporary_names: bool = False  # send under a temporary name and rename, when the server lets us
    marker: str = ""  # name of an empty file put after a whole group, ``{NAME}`` stands for the recording's; "": none
    chunk_size: int = 0  # bytes of one WRITE; 0: what the server says it takes
    pins: tuple[Pin, ...] = ()  # host keys, oldest first
    any_host_key: bool = False  # take whatever key is shown: insecure, shown as such everywhere
    has_password: bool = False
    public_key: str = ""  # public half of the private key, as a line; empty: no key
    enabled: bool = True
    disabled_reason: str = ""  # "host_key", "operator"
    disabled_at: datetime | None = None
    refused_key: bytes | None = None  # blob of the host key that was shown instead of a pinned one
    changed_at: datetime | None = None  # when an operator last changed anything of it: what failed before may work now


@dataclass(frozen=True, slots=True)
class RemoteSecrets:
    """What opens a remote. Never logged: its repr is empty."""

    password: str | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)  # OpenSSH text without a passphrase
