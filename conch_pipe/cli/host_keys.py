"""``conch-pipe host-key``: which host keys there are, what each is for, and how partners compare them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session
from conch_pipe.errors import Mistakes

SIGNS, ANNOUNCED, RETIRING = "signs", "announced", "retiring"


@dataclass(frozen=True, slots=True)
class HostKey:
    """One key of the settings.

    :ivar use: "signs": key exchanges; "announced": told to clients and nothing else, the first of its kind signs;
        followed by ", retiring" when it is to go.
    """

    file: Path
    kind: str
    bits: int
    fingerprint: str
    use: str


def listed(session: Session) -> tuple[list[HostKey], list[str]]:
    """The host keys that can be used, in their order, and every mistake."""
    from conch_pipe.ssh.server import hostkeys, offers

    ssh = session.settings.ssh
    keys, mistakes = hostkeys.load_all(ssh.host_keys, ssh.retiring_host_keys)
    chosen = [("ssh.algorithms", ssh.algorithms)]
    chosen += [("ssh.algorithms_from", preset) for preset in ssh.algorithms_from.values()]
    mistakes += offers.mistakes(list(keys.values()), chosen)
    signing = offers.signing(list(keys.values()), [preset for _, preset in chosen])
    found = []
    for path, key in keys.items():
        fingerprint = hostkeys.fingerprint(key)
        use = SIGNS if fingerprint in signing else ANNOUNCED
        use += f", {RETIRING}" if path in ssh.retiring_host_keys else ""
        found.append(HostKey(path, key.type(), key.size(), fingerprint, use))
    return found, mistakes


@click.group("host-key", cls=Group)
def host_key() -> None:
    """Host keys: by which partners know that it is us.

    \b
    conch-pipe host-key list
    """


@host_key.command("list")
@click.pass_obj
def list_host_keys(session: Session) -> None:
    """All host keys of the settings with their fingerprints, and what each is for.

    "signs": key exchanges. "announced": clients that learn keys (OpenSSH) are told of it; the first of its kind signs.
    "retiring": each login by it is in the log as hostkey.old. The file tells what holds from the next start on.
    """
    keys, mistakes = listed(session)
    if mistakes:
        raise Mistakes("host keys", mistakes)
    session.out.document(keys)
    session.out.table(
        ("file", "kind", "bits", "fingerprint", "use"),
        [(one.file.name, one.kind, one.bits, one.fingerprint, one.use) for one in keys],
        empty="no host keys",
    )
