"""Where clients come in, and what they may use there.

The numbers of [limits] come from what real clients need and what hostile ones were seen to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from conch_pipe.settings.sections.base import Section
from conch_pipe.settings.values import (
    GIB,
    KIB,
    MIB,
    Count,
    File,
    Networks,
    Place,
    Places,
    Preset,
    Presets,
    Seconds,
    Share,
    Size,
)


class Ssh(Section):
    """The SFTP door."""

    interface: str = Field(default="0.0.0.0", description='Address to listen on; "::" for IPv6.')  # noqa: S104
    port: Count = Field(
        default=2222, ge=0, le=65535, description="TCP port; 0 picks a free one, told by the log and by status."
    )
    endpoint: str = Field(
        default="",
        description="A Twisted server endpoint instead of interface and port, e.g. systemd:domain=INET:name=sftp "
        "for a socket that systemd holds.",
    )
    host_keys: Places = Field(
        default=(Path("keys/ssh_host_ed25519_key"), Path("keys/ssh_host_rsa_key")),
        description="Private host keys in OpenSSH format, mode 0600: the first of each kind signs, all are told to "
        "clients. Systemd credentials named ssh_host_*_key stand in for this list.",
    )
    retiring_host_keys: Places = Field(
        default=(),
        description="Those of host_keys that are to go: each login by one of them is told as hostkey.old.",
    )
    algorithms: Preset = Field(
        default="default-2026",
        description='What clients are offered: "default-2026"; "strict-2026", of which ssh-audit has nothing to say; '
        '"legacy-2026", with older key exchanges besides.',
    )
    algorithms_from: Presets = Field(
        default={},
        description="Exceptions for clients of single addresses and networks, of which the first decides, like "
        '{"192.0.2.10" = "legacy-2026"}.',
    )
    penalty_exempt: Networks = Field(
        default=("127.0.0.0/8", "::1/128"),
        description="Addresses and networks that are never refused for wrong passwords and the like: offices with many "
        "people behind one address, monitoring.",
    )
    proxy_from: Networks = Field(
        default=(),
        description="Addresses and networks of load balancers that speak the PROXY protocol: their connections must "
        "begin with its header, and all limits see the client it names.",
    )


class Http(Section):
    """The HTTP door: the Upload API."""

    interface: str = Field(
        default="127.0.0.1",
        description="Address to listen on; without a certificate or a proxy in front, secrets go over it in clear.",
    )
    port: Count = Field(
        default=-1,
        ge=-1,
        le=65535,
        description="TCP port; 0 picks a free one, told by status as http_port; -1: there is no HTTP door.",
    )
    endpoint: str = Field(
        default="",
        description="A Twisted server endpoint instead of interface and port, e.g. systemd:domain=INET:name=http.",
    )
    certificate: File = Field(
        default="",
        description="PEM file of the TLS certificate with those above it; looked at every minute, so that a new one is "
        "used without a restart. Empty: no TLS.",
    )
    key: File = Field(default="", description="PEM file of its private key, without a passphrase.")
    forwarded_from: Networks = Field(
        default=(),
        description="Addresses and networks of proxies in front, whose X-Forwarded-For is believed.",
    )
    metrics_from: Networks = Field(
        default=("127.0.0.0/8", "::1/128"),
        description="Addresses and networks that may read /metrics, and why /readyz says no, without an operator's "
        "token. Empty them behind a proxy on this machine that does not tell for whom it asks.",
    )
    token_s: Seconds = Field(default=900, ge=60, le=86_400, description="Seconds an access token is good for.")
    token_key_file: Place = Field(
        default=Path("keys/tokens.key"),
        description="File of the keys that sign tokens, one a line, the first signs; 0600, made when it is missing.",
    )
    connections: Count = Field(default=200, ge=1, description="Connections at a time.")
    per_address: Count = Field(default=20, ge=1, description="Connections of one IPv4 address or IPv6 /64.")
    requests: Count = Field(default=1000, ge=1, description="Requests on one connection.")
    header_bytes: Size = Field(default=16 * KIB, ge=1024, le=MIB, description="All header lines of a request together.")
    header_lines: Count = Field(default=100, ge=20, le=1000, description="Header lines of a request.")
    header_s: Seconds = Field(default=10, gt=0, description="Seconds a header may take to come.")
    idle_s: Seconds = Field(default=60, gt=0, description="Seconds a connection may be without a request.")
    slow_s: Seconds = Field(default=30, gt=0, description="In every so many seconds a body must bring in,")
    slow_rate_bytes: Size = Field(default=KIB, ge=0, description="on average, so many bytes a second.")
    unread_s: Seconds = Field(default=30, gt=0, description="Seconds a client may leave an answer unread.")
    linger_s: Seconds = Field(
        default=2,
        ge=0,
        description="Seconds that what still comes after an early answer is thrown away before closing.",
    )
    held_bytes: Size = Field(
        default=64 * KIB, ge=0, le=16 * MIB, description="Of a file in a form that comes before its schemaType."
    )
    recording_bytes: Size = Field(
        default=20 * GIB, ge=MIB, description="Longest request with the files of a recording, all of them together."
    )
    document_bytes: Size = Field(default=16 * KIB, ge=1024, le=MIB, description="Longest request that is no file.")
    wait_s: Seconds = Field(default=60, ge=0, le=60, description="Longest time a request may wait for a verdict.")

    @model_validator(mode="after")
    def _certificates_have_keys(self) -> Http:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key are needed both, or neither")
        return self

    @property
    def on(self) -> bool:
        """Whether there is such a door."""
        return self.port >= 0 or bool(self.endpoint)

    def web(self) -> dict[str, Any]:
        """The arguments of ``web.limits.Limits`` that are chosen here."""
        first = list(type(self).model_fields).index("connections")
        names = list(type(self).model_fields)[first:]
        return {"slow_rate" if name == "slow_rate_bytes" else name: getattr(self, name) for name in names}


class Limits(Section):
    """What one client, one address and all of them together may use. The defaults fit every common client."""

    connections: Count = Field(default=500, ge=1, description="Connections at a time.")
    not_logged_in: Count = Field(default=50, ge=1, description="Connections that have not logged in yet.")
    early_drop_share: Share = Field(
        default=0.5,
        ge=0,
        le=1,
        description="From this share of not_logged_in on, newcomers are refused at random, 30 % first and all at the "
        "end; 1: never.",
    )
    per_address: Count = Field(default=20, ge=1, description="Connections of one IPv4 address or IPv6 /64.")
    not_logged_in_per_address: Count = Field(default=10, ge=1, description="Of these, not logged in yet.")
    per_client: Count = Field(default=10, ge=1, description="Logged-in connections of one client_id.")
    penalty_password_s: Seconds = Field(
        default=5, ge=0, description="Seconds of penalty its address owes for a wrong password, as with sshd,"
    )
    penalty_no_attempt_s: Seconds = Field(default=1, ge=0, description="for a connection without a try to log in,")
    penalty_late_s: Seconds = Field(default=10, ge=0, description="for one that has not logged in in time,")
    penalty_violation_s: Seconds = Field(default=30, ge=0, description="for one that broke the protocol before login.")
    penalty_from_s: Seconds = Field(
        default=15, ge=0, description="An address that owes so many seconds is refused until all have run off."
    )
    penalty_longest_s: Seconds = Field(
        default=600, ge=0, description="The most an address can owe in seconds; 0: nobody is punished."
    )
    login_s: Seconds = Field(default=30, gt=0, description="Seconds from accepting a connection to its login.")
    version_s: Seconds = Field(default=10, gt=0, description="Seconds from accepting to the client's version line.")
    kexinit_wait_s: Seconds = Field(
        default=0.2,
        ge=0,
        le=5,
        description="Seconds the client's algorithms are waited for, to answer them with the fastest of their ciphers; "
        "0 sends ours at once.",
    )
    version_line_bytes: Size = Field(
        default=255, ge=64, le=65_536, description="Longest line before and of the client's version (RFC 4253)."
    )
    packet_before_login_bytes: Size = Field(
        default=35_000, ge=32_768, le=MIB, description="Longest SSH packet before login (RFC 4253 asks for 35,000)."
    )
    before_login_bytes: Size = Field(
        default=128 * KIB, ge=16 * KIB, description="Bytes a connection may send before its login; 8 KiB are needed."
    )
    packets_before_login: Count = Field(default=256, ge=32, description="The same in packets; about 10 are needed.")
    turn: Count = Field(
        default=1000, ge=16, description="Packets of one connection dealt with before others have their turn."
    )
    packet_bytes: Size = Field(default=256 * KIB, ge=35_000, le=16 * MIB, description="Longest SSH packet after login.")
    kex_s: Seconds = Field(
        default=30, gt=0, description="Seconds a key exchange may take, the first one counted from accepting."
    )
    rekey_bytes: Size = Field(
        default=GIB, ge=MIB, description="Bytes sent and received before we ask for new keys (RFC 4253)."
    )
    rekey_s: Seconds = Field(default=3600, ge=1, description="Seconds before we ask for new keys.")
    peer_rekey_bytes: Size = Field(
        default=16 * KIB, ge=0, description="Bytes between two key exchanges a client starts; fewer break a rule."
    )
    peer_rekey_breaches: Count = Field(default=10, ge=1, description="Times that rule may be broken by one connection.")
    lingering_s: Seconds = Field(default=5, gt=0, description="Seconds from our goodbye to cutting a connection.")
    auth_failures: Count = Field(default=6, ge=1, description="Wrong passwords on one connection before it is cut.")
    auth_requests: Count = Field(default=20, ge=1, description="Login requests of any kind on one connection.")
    auth_queue: Count = Field(default=4, ge=1, description="Login requests waiting while one is being checked.")
    failures_per_minute: Count = Field(
        default=10, ge=1, description="Failures of one account or address in a minute before answers are slowed down."
    )
    delay_s: Seconds = Field(
        default=20, ge=1, description="Longest delay in seconds of a slowed-down answer; less than login_s."
    )
    user_name_bytes: Size = Field(default=128, ge=25, le=4096, description="Longest user name.")
    password_bytes: Size = Field(default=256, ge=43, le=4096, description="Longest password; ours have 43 bytes.")
    channels: Count = Field(default=10, ge=1, description="Channels of one connection (rclone opens 7).")
    subsystem_s: Seconds = Field(default=30, gt=0, description="Seconds from opening a channel to asking for sftp.")
    window_bytes: Size = Field(
        default=2 * MIB, ge=64 * KIB, le=64 * MIB, description="Window of a channel; 2 MiB carries 20 MB/s at 100 ms."
    )
    channel_packet_bytes: Size = Field(
        default=32 * KIB, ge=32 * KIB, le=256 * KIB, description="Longest data packet of a channel."
    )
    peer_packet_bytes: Size = Field(
        default=1024,
        ge=1,
        description='Smallest "maximum packet" a client may ask for; 1 would make a packet of each byte.',
    )
    backlog_bytes: Size = Field(
        default=MIB, ge=64 * KIB, description="Replies a client leaves unread before it is cut."
    )
    unfinished_bytes: Size = Field(
        default=2 * MIB,
        ge=64 * KIB,
        description="Bytes that storage has not taken yet; above it the window stays shut.",
    )
    sftp_packet_bytes: Size = Field(default=256 * KIB, ge=34_000, le=16 * MIB, description="Longest SFTP packet.")
    outstanding: Count = Field(default=256, ge=64, description="SFTP requests of one channel without an answer yet.")
    handles: Count = Field(default=32, ge=1, description="Open files and folders of one channel.")
    attributes: Count = Field(default=16, ge=0, description="Extended attributes in one packet.")
    path_bytes: Size = Field(default=1024, ge=512, le=65_536, description="Longest path.")
    listing_bytes: Size = Field(
        default=32_000, ge=1024, le=200_000, description="One answer with a part of a listing is not much longer."
    )
    told: Count = Field(default=20, ge=0, description="Sentences told a client on stderr, for one channel.")
    remembered: Count = Field(default=5000, ge=1, description="Files a connection is shown in its listings.")
    keepalive_s: Seconds = Field(default=60, ge=1, description="Seconds between keepalives.")
    keepalive_misses: Count = Field(default=3, ge=1, description="Keepalives without a sign of life before the end.")
    idle_s: Seconds = Field(default=900, ge=1, description="Seconds a connection may go without an SFTP request.")
    open_file_s: Seconds = Field(default=300, ge=1, description="Seconds an open file may go without a WRITE.")
    session_s: Seconds = Field(default=43_200, ge=60, description="Longest life of a connection in seconds.")
    tick_s: Seconds = Field(default=15, gt=0, le=60, description="Seconds between looks at these four times.")

    @model_validator(mode="after")
    def _delays_are_no_locks(self) -> Limits:
        if self.delay_s >= self.login_s:
            raise ValueError("delay_s must be less than login_s: a slowed-down address could never log in")
        return self

    def ssh(self) -> dict[str, Any]:
        """The arguments of ``ssh.limits.Limits``, whose sizes go without their unit, but for those of re-keying."""
        others = {"per_client", "failures_per_minute", "delay_s", "remembered"}
        return {
            name if name.endswith("rekey_bytes") else name.removesuffix("_bytes"): getattr(self, name)
            for name in type(self).model_fields
            if name not in others
        }
