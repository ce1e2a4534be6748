"""``conch-pipe secrets``: the key under which the passwords and keys of remotes are kept."""

from __future__ import annotations

import click

from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session, now


@click.group(cls=Group)
def secrets() -> None:
    """The key that seals what opens remotes.

    \b
    conch-pipe secrets rotate
    """


@secrets.command("rotate")
@click.pass_obj
def rotate(session: Session) -> None:
    """Seal everything anew with a new key, then forget the old ones. The service may go on running.

    When it is interrupted, nothing is lost: run it again. A backup of the catalog from before needs the key file from
    before.
    """
    from conch_pipe.catalog import KeyFile

    keys = KeyFile(session.settings.secrets.key_file)
    remotes = session.catalog.remotes
    keys.rotate()
    sealed = now(remotes.reseal_all())
    retired = keys.retire()
    session.out.document({"sealed": sealed, "retired": retired, "key_file": keys.path})
    number = "1 secret is" if sealed == 1 else f"{sealed} secrets are"
    session.out.say(f"{number} sealed with a new key; {'the old one is' if retired == 1 else 'old ones are'} forgotten")
