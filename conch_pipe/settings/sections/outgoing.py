"""What goes out: recordings to remotes, messages to receivers, and the secrets of both."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from conch_pipe.settings.sections.base import Section
from conch_pipe.settings.values import Count, Networks, Place, Places, Seconds


class Push(Section):
    """Recordings on their way to remotes."""

    spool: Place = Field(
        default=Path("recordings"),
        description="Folder of manifests: each *.json moved into it is a recording, whose files are in it or in roots.",
    )
    roots: Places = Field(
        default=(),
        description="More folders that files of recordings may be in; they are read, and deleted at last.",
    )
    look_s: Seconds = Field(default=1, gt=0, le=3600, description="Seconds between looks for new manifests.")
    connections: Count = Field(
        default=64,
        ge=1,
        le=1000,
        description="Connections to all remotes together; each has a limit of its own besides.",
    )
    connect_s: Seconds = Field(
        default=10, gt=0, le=120, description="Seconds from a remote's name to the end of the first key exchange."
    )
    login_s: Seconds = Field(default=30, gt=0, le=600, description="Seconds the login may take after that.")
    request_s: Seconds = Field(default=30, gt=0, le=3600, description="Seconds a remote may take to answer a request.")
    progress_s: Seconds = Field(
        default=60,
        gt=0,
        le=3600,
        description="Seconds without an acknowledged byte that end an attempt.",
    )
    attempt_s: Seconds = Field(
        default=21_600, ge=60, le=86_400, description="Seconds one attempt may take, all files of a recording together."
    )
    networks_allowed: Networks = Field(
        default=(),
        description="Loopback, private and link-local networks that remotes may be in all the same, like 10.20.0.0/16.",
    )


class Webhooks(Section):
    """Messages to receivers over HTTP."""

    networks_allowed: Networks = Field(
        default=(),
        description="Loopback, private and link-local networks that receivers may be in all the same, like "
        "10.20.0.0/16; only these are also reached without TLS.",
    )


class Secrets(Section):
    """What logs in at remotes and signs for webhooks, sealed in the catalog."""

    key_file: Place = Field(
        default=Path("keys/secrets.key"),
        description="File of the keys that seal it, one a line, the first seals; 0600. A systemd credential named "
        "pipe-sftp-secrets-key stands in for it. Lost with it: every password and private key of a remote, "
        "and every secret that signs for a webhook.",
    )
