"""``conch-pipe environment``: to which remotes the recordings of an application go, and whether their files stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli.deliveries import local
from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.model import Environment

_REMOTES = click.option("--remote", "remotes", multiple=True, metavar="REMOTE", help="A remote; may be repeated.")


def _files(default: bool | None) -> Any:
    return click.option(
        "--delete-delivered/--keep",
        default=default,
        help="Delete the files of a recording once every remote has all of them, or keep them; default: keep.",
    )


@click.group(cls=Group)
def environment() -> None:
    """Environments: where the recordings of an application go.

    \b
    conch-pipe remote add …
    conch-pipe environment create acme production --remote archive --remote studio
    conch-pipe recording submit acme production --id rec-1 --main standup.mp4
    """


@environment.command("create")
@click.argument("organisation")
@click.argument("name")
@_REMOTES
@_files(default=False)
@click.pass_obj
def create_environment(
    session: Session, organisation: str, name: str, remotes: tuple[str, ...], delete_delivered: bool
) -> None:
    """Make environment NAME of ORGANISATION. NAME is 1 to 63 of a-z, 0-9 and -.

    \b
    conch-pipe environment create acme production --remote archive --delete-delivered
    """
    made = now(session.catalog.environments.create(organisation, name, remotes, delete_delivered))
    session.out.document(made)
    session.out.say(f"environment {made.name} of {made.organisation} made; {_told(made)}")


@environment.command("list")
@click.argument("organisation", required=False)
@click.pass_obj
def list_environments(session: Session, organisation: str | None) -> None:
    """All environments, or those of ORGANISATION."""
    found = now(session.catalog.environments.list(organisation))
    session.out.document(found)
    session.out.table(
        ("organisation", "environment", "made", "remotes", "files"),
        [
            (one.organisation, one.name, local(one.created_at), ", ".join(one.remotes) or "none", _fate(one))
            for one in found
        ],
        empty="no environments; conch-pipe environment create ORGANISATION NAME makes one",
    )


@environment.command("show")
@click.argument("organisation")
@click.argument("name")
@click.pass_obj
def show_environment(session: Session, organisation: str, name: str) -> None:
    """One environment with its remotes."""
    found = existing(session, organisation, name)
    session.out.document(found)
    session.out.facts(
        [
            ("organisation", found.organisation),
            ("environment", found.name),
            ("made", local(found.created_at)),
            ("files", _fate(found)),
            ("remotes", None if found.remotes else "none; recordings stay here"),
        ]
    )
    for remote in (now(session.catalog.remotes.get(one)) for one in found.remotes):
        if remote is not None:
            off = "" if remote.enabled else f"  DISABLED: {remote.disabled_reason}"
            session.out.say(f"  {remote.name}  {remote.username}@{remote.host}:{remote.port}{off}")


@environment.command("edit")
@click.argument("organisation")
@click.argument("name")
@_REMOTES
@click.option("--no-remotes", is_flag=True, help="Recordings go nowhere.")
@_files(default=None)
@click.pass_obj
def edit_environment(
    session: Session,
    organisation: str,
    name: str,
    remotes: tuple[str, ...],
    no_remotes: bool,
    delete_delivered: bool | None,
) -> None:
    """Change an environment. With --remote, its remotes are those and no others.

    Recordings accepted before keep the remotes they had; --delete-delivered and --keep count for all whose files are
    still there and not yet delivered.

    \b
    conch-pipe environment edit acme production --remote archive --remote studio
    """
    if remotes and no_remotes:
        raise click.UsageError("--remote and --no-remotes contradict each other")
    if not remotes and not no_remotes and delete_delivered is None:
        raise click.UsageError("nothing to change: --remote, --no-remotes, --delete-delivered or --keep")
    wanted = remotes if remotes or no_remotes else None
    edited = now(
        session.catalog.environments.edit(organisation, name, remotes=wanted, delete_delivered=delete_delivered)
    )
    session.out.document(edited)
    session.out.say(f"environment {edited.name} of {edited.organisation}: {_told(edited)}")


@environment.command("remove")
@click.argument("organisation")
@click.argument("name")
@click.pass_obj
def remove_environment(session: Session, organisation: str, name: str) -> None:
    """Remove an environment; refused while recordings of it are on their way. Recordings and their log stay."""
    now(session.catalog.environments.remove(organisation, name))
    session.out.document({"organisation": organisation, "name": name, "removed": True})
    session.out.say(f"environment {name} of {organisation} is removed")


def existing(session: Session, organisation: str, name: str) -> Environment:
    """:raises PipeError: NOT_FOUND."""
    found = now(session.catalog.environments.get(organisation, name))
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no environment {name} of {organisation}")
    return found


def _fate(one: Environment) -> str:
    return "deleted when delivered" if one.delete_delivered else "kept"


def _told(one: Environment) -> str:
    where = f"recordings go to {', '.join(one.remotes)}" if one.remotes else "recordings go nowhere yet"
    return f"{where}; files are {_fate(one)}"
