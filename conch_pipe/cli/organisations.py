"""``conch-pipe org`` and ``conch-pipe credential``: tenants and the secrets they log in with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session, now
from conch_pipe.operations.credentials import MOST_DAYS, OVERLAP_DAYS

if TYPE_CHECKING:
    from conch_pipe.model import Credential, Organisation


@click.group(cls=Group)
def org() -> None:
    """Organisations: the tenants whose partners send files.

    \b
    conch-pipe org create acme --title "Acme Ltd" --schema orgShifts
    conch-pipe credential create acme --label "payroll server"
    """


@org.command("create")
@click.argument("name")
@click.option("--title", default="", help="What people call it.")
@click.option("--schema", "schemas", multiple=True, help="A schema to enable at once; may be repeated.")
@click.pass_obj
def create_organisation(session: Session, name: str, title: str, schemas: tuple[str, ...]) -> None:
    """Make an organisation. NAME is 1 to 63 of a-z, 0-9 and -.

    \b
    conch-pipe org create acme --title "Acme Ltd" --schema orgShifts --schema orgTimesheets
    """
    made = now(session.operations.organisations.create(name, title, schemas))
    session.out.document(_organisation(made))
    session.out.say(f"organisation {made.name} made; next: conch-pipe credential create {made.name}")


@org.command("list")
@click.pass_obj
def list_organisations(session: Session) -> None:
    """All organisations with their schemas."""
    found = now(session.operations.organisations.list())
    session.out.document([_organisation(one) for one in found])
    session.out.table(
        ("organisation", "title", "made", "schemas"),
        [(one.name, one.title, one.created_at, ", ".join(one.schemas)) for one in found],
        empty="no organisations; conch-pipe org create NAME makes one",
    )


@org.command("show")
@click.argument("name")
@click.pass_obj
def show_organisation(session: Session, name: str) -> None:
    """One organisation: schemas, credentials, uploads by state."""
    found = existing(session, name)
    credentials = now(session.operations.credentials.list(name))
    counts = now(session.operations.uploads.counts(name))
    session.out.document(
        _organisation(found)
        | {
            "credentials": [credential_document(one) for one in credentials],
            "uploads": {state.value: number for state, number in counts.items()},
        }
    )
    session.out.facts(
        [("organisation", found.name), ("title", found.title), ("made", found.created_at)]
        + [("schemas", ", ".join(found.schemas) or "none; conch-pipe schema enable ORGANISATION SCHEMA")]
        + [(f"uploads {state.value}", number) for state, number in counts.items()]
    )
    _table(session, credentials)


@click.group(cls=Group)
def credential() -> None:
    """Credentials: a client_id and a secret with which a partner logs in.

    A secret is shown when it is made and never again; only its hash is kept.

    \b
    conch-pipe credential create acme --label "payroll server"
    conch-pipe credential rotate pipe_5tq… --overlap-days 14
    conch-pipe credential revoke pipe_5tq…
    """


@credential.command("create")
@click.argument("organisation")
@click.option("--label", default="", help="What it is for, so that you know it later.")
@click.pass_obj
def create_credential(session: Session, organisation: str, label: str) -> None:
    """Make a credential of ORGANISATION. The secret is shown now and never again."""
    made, secret = now(session.operations.credentials.create(organisation, label))
    _show_secret(session, made, secret)


@credential.command("list")
@click.argument("organisation", required=False)
@click.option("--all", "passing", is_flag=True, help="Also those with which check and demo visit the service.")
@click.pass_obj
def list_credentials(session: Session, organisation: str | None, passing: bool) -> None:
    """All credentials, or those of ORGANISATION."""
    found = now(session.operations.credentials.list(organisation, passing=passing))
    session.out.document([credential_document(one) for one in found])
    _table(session, found)


@credential.command("rotate")
@click.argument("client_id")
@click.option(
    "--overlap-days",
    type=click.FloatRange(0, MOST_DAYS),
    default=OVERLAP_DAYS,
    show_default=True,
    help="Days the old secret goes on working, so that the partner can change over; 0 ends it now.",
)
@click.pass_obj
def rotate_credential(session: Session, client_id: str, overlap_days: float) -> None:
    """A new secret for CLIENT_ID; the old one goes on working for a while. At most two are alive."""
    changed, secret = now(session.operations.credentials.rotate(client_id, overlap_days))
    _show_secret(session, changed, secret)
    for old in changed.secrets[1:]:
        session.out.say(f"the old secret works until {old.expires_at:%Y-%m-%d %H:%M} UTC")


@credential.command("revoke")
@click.argument("client_id")
@click.pass_obj
def revoke_credential(session: Session, client_id: str) -> None:
    """End CLIENT_ID for good; a running service closes its sessions within seconds."""
    revoked = now(session.operations.credentials.revoke(client_id))
    session.out.document(credential_document(revoked))
    session.out.say(f"{client_id} is revoked since {revoked.revoked_at:%Y-%m-%d %H:%M:%S} UTC")


def existing(session: Session, name: str) -> Organisation:
    """:raises PipeError: NOT_FOUND."""
    found: Organisation = now(session.operations.organisations.existing(name))
    return found


def credential_document(one: Credential) -> dict[str, Any]:
    """A credential for JSON: everything but the hashes."""
    return {
        "client_id": one.client_id,
        "organisation": one.organisation,
        "label": one.label,
        "created_at": one.created_at,
        "revoked_at": one.revoked_at,
        "last_login_at": one.last_login_at,
        "schemas": one.schemas,
        "secrets": [{"created_at": each.created_at, "expires_at": each.expires_at} for each in one.secrets],
    }


def _organisation(one: Organisation) -> dict[str, Any]:
    return {"name": one.name, "title": one.title, "created_at": one.created_at, "schemas": one.schemas}


def _show_secret(session: Session, one: Credential, secret: str) -> None:
    session.out.document(credential_document(one) | {"client_secret": secret})
    session.out.facts([("organisation", one.organisation), ("client_id", one.client_id), ("client_secret", secret)])
    session.out.say("The secret is shown this once; only its hash is kept.")


def _table(session: Session, found: tuple[Credential, ...]) -> None:
    session.out.table(
        ("client_id", "organisation", "label", "made", "last login", "secrets", "revoked"),
        [
            (
                one.client_id,
                one.organisation,
                one.label,
                one.created_at,
                one.last_login_at or "never",
                len(one.secrets),
                one.revoked_at,
            )
            for one in found
        ],
        empty="no credentials; conch-pipe credential create ORGANISATION makes one",
    )
