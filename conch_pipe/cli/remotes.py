"""``conch-pipe remote``: the servers that recordings are pushed to. What connects to one is in remote_test.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli import asking, remote_form, remote_shown
from conch_pipe.cli.edge import Group
from conch_pipe.cli.remote_shown import existing
from conch_pipe.cli.remote_test import test_remote, trust_remote
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.model import Remote
    from conch_pipe.operations.remote_form import Filled

YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Group)
def remote() -> None:
    """Remotes: customers' SFTP servers, to which recordings are pushed.

    Passwords and passphrases come from files, from standard input or from your keyboard, never from the command line.

    \b
    conch-pipe remote add acme acme-eu --host sftp.acme.example --username pipe --password-stdin
    conch-pipe remote test acme-eu               connect, compare the host key, log in, try the folder
    conch-pipe remote keygen acme-eu             a new key pair; the customer installs the public half
    conch-pipe remote trust acme-eu              the customer has changed the host key and told you so
    """


@remote.command("add")
@click.argument("organisation")
@click.argument("name")
@remote_form.options
@click.pass_obj
def add_remote(session: Session, **given: Any) -> None:
    """Add a remote of ORGANISATION. NAME is 1 to 63 of a-z, 0-9 and -.

    It needs a host, a user name, and a password or key or both. All mistakes are told at once.

    \b
    conch-pipe remote add acme acme-eu --host sftp.acme.example --username pipe --folder in --password-stdin
    conch-pipe remote add acme acme-us --host 203.0.113.7 --username pipe --key-file id_ed25519 --host-key host.pub
    conch-pipe remote add acme acme-jp --host sftp.acme.example --username pipe --generate-key rsa-4096
    """
    filled = remote_form.fill(given, new=True)
    stored = now(session.operations.remotes.add(filled))
    session.out.document(remote_shown.document(session, stored))
    _say_key(session, stored, filled)
    session.out.say(f"remote {stored.name} made; next: conch-pipe remote test {stored.name}")
    if stored.pins or stored.any_host_key:  # else the test is what comes next anyway
        remote_shown.warn(session, stored)


@remote.command("edit")
@click.argument("name")
@remote_form.options
@click.option("--no-password", is_flag=True, help="Take the password away; it is gone from the catalog's files.")
@click.option("--no-key", is_flag=True, help="Take the key away; it is gone from the catalog's files.")
@click.pass_obj
def edit_remote(session: Session, no_password: bool, no_key: bool, **given: Any) -> None:
    """Change what is given of remote NAME. Recordings that wait for it are tried at once.

    Without any password or key the remote is disabled, until it is given one again.

    \b
    conch-pipe remote edit acme-eu --password-stdin
    conch-pipe remote edit acme-eu --folder /in/recordings --marker ""
    conch-pipe remote edit acme-eu --key-file id_ed25519 --no-password
    """
    for flag, others in (("password", ("password_stdin", "password_file")), ("key", ("key_file", "generate_key"))):
        if (no_password if flag == "password" else no_key) and any(given[one] for one in others):
            raise click.UsageError(f"--no-{flag} and a new {flag} exclude each other")
    before = existing(session, given["name"])
    filled = remote_form.fill(given | {"no_password": no_password, "no_key": no_key}, new=False)
    if filled.empty:
        raise click.UsageError("nothing to change; conch-pipe remote edit --help tells what can be")
    changed = now(session.operations.remotes.edit(before.name, filled))
    session.out.document(remote_shown.document(session, changed))
    _say_key(session, changed, filled)
    session.out.say(f"remote {changed.name} is changed")
    if (changed.host, changed.port) != (before.host, before.port) and filled.host_keys is None and changed.pins:
        session.out.say(f"the trusted host keys are those of {before.host}; conch-pipe remote test {changed.name}")
    remote_shown.warn(session, changed)


@remote.command("list")
@click.argument("organisation", required=False)
@click.pass_obj
def list_remotes(session: Session, organisation: str | None) -> None:
    """All remotes, or those of ORGANISATION."""
    found = now(session.operations.remotes.list(organisation))
    session.out.document([remote_shown.document(session, one) for one in found])
    session.out.table(
        ("remote", "organisation", "host", "port", "user name", "folder", "logs in with", "host keys", "state"),
        [
            (
                one.name,
                one.organisation,
                one.host,
                one.port,
                one.username,
                one.folder,
                remote_shown.login(one),
                remote_shown.trusted(one),
                remote_shown.state(one),
            )
            for one in found
        ],
        empty="no remotes; conch-pipe remote add ORGANISATION NAME makes one",
    )
    for one in found:
        for words in remote_shown.warnings(session, one):
            session.out.say(f"WARNING: {one.name}: {words}")


@remote.command("show")
@click.argument("name")
@click.pass_obj
def show_remote(session: Session, name: str) -> None:
    """One remote: everything but its secrets."""
    found = existing(session, name)
    session.out.document(remote_shown.document(session, found))
    remote_shown.show(session, found)


remote.add_command(test_remote)


@remote.command("keygen")
@click.argument("name")
@click.option(
    "--type",
    "kind",
    type=click.Choice(remote_form.KINDS),
    default=remote_form.KINDS[0],
    show_default=True,
    help="rsa-4096 is taken by every server, ed25519 is shorter and faster.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the public half to a new file.",
)
@YES
@click.pass_obj
def make_key(session: Session, name: str, kind: str, out: Path | None, yes: bool) -> None:
    """Make a key pair for remote NAME: the private half is sealed, the public one is for the customer to install.

    A key that it had is replaced. The remote's password stays; remote edit --no-password takes it away.

    \b
    conch-pipe remote keygen acme-eu --type ed25519 --out acme-eu.pub
    """
    before = existing(session, name)
    if out is not None and out.exists():
        raise PipeError(Code.CONFLICT, f"{out} is there already")
    if before.public_key:
        asking.confirm(
            f"Replace the key of {name}? The old one is gone, and the server does not know the new one.", yes
        )
    changed, fingerprint = now(session.operations.remotes.generate_key(name, kind))
    line = changed.public_key
    if out is not None:
        with out.open("x") as file:
            file.write(line + "\n")
    session.out.document({"remote": changed.name, "public_key": line, "fingerprint": fingerprint, "file": out})
    session.out.say(line)
    session.out.say(f"{fingerprint}; the customer appends this line to authorized_keys of {changed.username}")


remote.add_command(trust_remote)


@remote.command("enable")
@click.argument("name")
@YES
@click.pass_obj
def enable_remote(session: Session, name: str, yes: bool) -> None:
    """Use remote NAME again. Recordings that wait for it are tried at once."""
    found = existing(session, name)
    if found.refused_key and not found.any_host_key:
        asking.confirm(f"{name} showed a host key that is not trusted: remote trust {name} is needed. Enable it?", yes)
    else:
        asking.confirm(f"Enable {name}? Recordings that wait for it are tried at once.", yes)
    _changed(session, now(session.operations.remotes.enable(name)), "enabled")


@remote.command("disable")
@click.argument("name")
@YES
@click.pass_obj
def disable_remote(session: Session, name: str, yes: bool) -> None:
    """Connect to remote NAME no more until it is enabled. Attempts are missed meanwhile: they count as failed."""
    existing(session, name)
    asking.confirm(f"Disable {name}? Attempts that fall due meanwhile count as failed.", yes)
    _changed(session, now(session.operations.remotes.disable(name)), "disabled")


@remote.command("remove")
@click.argument("name")
@YES
@click.pass_obj
def remove_remote(session: Session, name: str, yes: bool) -> None:
    """Remove remote NAME with its password, key and host keys. Recordings that wait for it never reach it."""
    found = existing(session, name)
    asking.confirm(
        f"Remove {name} ({found.username} at {found.host}) with its secrets, and give up what waits for it?", yes
    )
    given_up = now(session.operations.remotes.remove(name))
    session.out.document({"remote": name, "removed": True, "given_up": given_up})
    session.out.say(f"remote {name} is removed; {given_up} recordings that waited for it are given up")


def _changed(session: Session, changed: Remote, how: str) -> None:
    session.out.document(remote_shown.document(session, changed))
    session.out.say(f"remote {changed.name} is {how}")
    remote_shown.warn(session, changed)


def _say_key(session: Session, stored: Remote, filled: Filled) -> None:
    if filled.key is not None:
        session.out.say(f"public key, for authorized_keys of {stored.username} on the server:")
        session.out.say(stored.public_key)
