"""``conch-pipe token`` and ``conch-pipe person``: who may use the operations API and the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli import asking
from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.model import Person, Token

# As in model.Scope, which a test holds to it: importing it takes longer than most commands.
SCOPES = ("read", "uploads", "recordings", "remotes", "webhooks", "tenants")
DAYS, MOST_DAYS = 90, 730


@click.group(cls=Group)
def token() -> None:
    """Tokens with which programs use the operations API.

    A token is shown when it is made and never again; only its hash is kept. It may do what its scopes say: read sees
    everything but secrets and the content of files, each other one lets something be changed.

    \b
    conch-pipe token create "nightly report"
    conch-pipe token create deploy --scope read --scope remotes --days 365
    conch-pipe token revoke 5tq0c1x2y3z4
    """


@token.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice((*SCOPES, "all")),
    multiple=True,
    default=("read",),
    show_default="read",
    help="What it may do; may be repeated.",
)
@click.option("--organisation", help="It sees only this one and what is its.")
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), default=DAYS, show_default=True, help="How long it is good for."
)
@click.pass_obj
def create_token(session: Session, name: str, scopes: tuple[str, ...], organisation: str | None, days: int) -> None:
    """Make a token. NAME tells you later what it is for. It is shown now and never again."""
    from conch_pipe.model import Scope

    wanted = Scope if "all" in scopes else [Scope(one) for one in scopes]
    made, text = now(session.catalog.tokens.create(name, wanted, organisation, days))
    session.out.document(_token(made) | {"token": text})
    session.out.facts(
        [
            ("id", made.token_id),
            ("name", made.name),
            ("may", _scopes(made)),
            ("sees", made.organisation or "everything"),
        ]
        + [("good until", made.expires_at), ("token", text)]
    )
    session.out.say("The token is shown this once; only its hash is kept.")


@token.command("list")
@click.argument("organisation", required=False)
@click.pass_obj
def list_tokens(session: Session, organisation: str | None) -> None:
    """All tokens, or those bound to ORGANISATION."""
    found = now(session.catalog.tokens.list(organisation))
    session.out.document([_token(one) for one in found])
    session.out.table(
        ("id", "name", "may", "sees", "made", "good until", "last used", "revoked"),
        [
            (
                one.token_id,
                one.name,
                _scopes(one),
                one.organisation or "everything",
                one.created_at,
                one.expires_at,
                one.last_used_at or "never",
                one.revoked_at,
            )
            for one in found
        ],
        empty="no tokens; conch-pipe token create NAME makes one",
    )


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@click.pass_obj
def revoke_token(session: Session, token_id: str) -> None:
    """End the token ID for good; a running service refuses it within seconds."""
    revoked = now(session.catalog.tokens.revoke(token_id))
    session.out.document(_token(revoked))
    session.out.say(f"{token_id} ({revoked.name}) is revoked since {revoked.revoked_at:%Y-%m-%d %H:%M:%S} UTC")


@click.group(cls=Group)
def person() -> None:
    """People who sign in to the dashboard.

    Operators see and change everything. Members of an organisation see what is its, and change nothing.

    \b
    conch-pipe person add olga
    conch-pipe person add mia@acme.example --organisation acme
    conch-pipe person passwd olga
    """


def _password_options(command: Callable[..., None]) -> Callable[..., None]:
    file = click.Path(dir_okay=False, path_type=Path)
    command = click.option("--password-file", type=file, metavar="FILE", help="Read the password from a file.")(command)
    return click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")(command)


@person.command("add")
@click.argument("name")
@click.option("--organisation", help="A member of this one; else an operator.")
@_password_options
@click.pass_obj
def add(
    session: Session, name: str, organisation: str | None, password_stdin: bool, password_file: Path | None
) -> None:
    """Let somebody sign in. NAME is 1 to 100 of a-z, 0-9, ., @, _ and -.

    The password, 12 to 200 characters of any kind, is asked for, or read from standard input or a file.
    """
    made = now(session.catalog.people.create(name, _password(password_stdin, password_file), organisation))
    session.out.document(made)
    session.out.say(f"{name} may sign in now, {_position(made)}")


@person.command("list")
@click.argument("organisation", required=False)
@click.pass_obj
def list_people(session: Session, organisation: str | None) -> None:
    """All people, or the members of ORGANISATION."""
    found = now(session.catalog.people.list(organisation))
    session.out.document(found)
    session.out.table(
        ("name", "is", "organisation", "made", "last signed in", "disabled"),
        [
            (
                one.name,
                one.position.value,
                one.organisation or "every one",
                one.created_at,
                one.last_sign_in_at or "never",
                one.disabled_at,
            )
            for one in found
        ],
        empty="nobody; conch-pipe person add NAME lets somebody sign in",
    )


@person.command("passwd")
@click.argument("name")
@_password_options
@click.pass_obj
def passwd(session: Session, name: str, password_stdin: bool, password_file: Path | None) -> None:
    """A new password for NAME; who has signed in with the old one is out within seconds."""
    _existing(session, name)
    changed = now(session.catalog.people.set_password(name, _password(password_stdin, password_file)))
    session.out.document(changed)
    session.out.say(f"{name} has a new password; all sessions have ended")


@person.command("disable")
@click.argument("name")
@click.pass_obj
def disable(session: Session, name: str) -> None:
    """NAME cannot sign in any more; who has is out within seconds."""
    changed = now(session.catalog.people.disable(name))
    session.out.document(changed)
    session.out.say(f"{name} is disabled since {changed.disabled_at:%Y-%m-%d %H:%M:%S} UTC; all sessions have ended")


@person.command("enable")
@click.argument("name")
@click.pass_obj
def enable(session: Session, name: str) -> None:
    """NAME may sign in again, with the password of before."""
    changed = now(session.catalog.people.enable(name))
    session.out.document(changed)
    session.out.say(f"{name} may sign in, {_position(changed)}")


@person.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(session: Session, name: str, yes: bool) -> None:
    """Forget NAME, and end all sessions. What was done stays in the log of the service."""
    _existing(session, name)
    asking.confirm(f"remove {name}?", yes)
    now(session.catalog.people.remove(name))
    session.out.document({"removed": name})
    session.out.say(f"{name} is removed")


def _existing(session: Session, name: str) -> None:
    """Before somebody types a password in vain. :raises PipeError: NOT_FOUND."""
    if now(session.catalog.people.get(name)) is None:
        raise PipeError(Code.NOT_FOUND, f"no person {name}")


def _password(from_stdin: bool, file: Path | None) -> str:
    """:raises PipeError: INVALID."""
    if from_stdin and file is not None:
        raise click.UsageError("--password-stdin and --password-file: one of them")
    if not from_stdin and file is None and not asking.terminal():
        raise click.UsageError("no password: --password-stdin or --password-file gives it, a terminal asks for it")
    try:
        given = asking.secret("password", file is None, file)
    except ValueError as error:
        raise PipeError(Code.INVALID, f"the password {error}") from None
    if file is None and asking.terminal() and asking.hidden("the same again") != given:
        raise PipeError(Code.INVALID, "the two are not the same, nothing was changed")
    return given or ""


def _position(one: Person) -> str:
    return f"a member of {one.organisation}" if one.organisation else "an operator"


def _scopes(one: Token) -> str:
    return ", ".join(name for name in SCOPES if name in one.scopes)


def _token(one: Token) -> dict[str, Any]:
    return {
        "id": one.token_id,
        "name": one.name,
        "scopes": [name for name in SCOPES if name in one.scopes],
        "organisation": one.organisation,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "revoked_at": one.revoked_at,
        "last_used_at": one.last_used_at,
    }
