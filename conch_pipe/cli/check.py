"""``conch-pipe check``: is everything as it must be, and does it work as a partner would see it?"""

from __future__ import annotations

from collections.abc import Iterator

import click

from conch_pipe.cli.edge import REFUSED, Command
from conch_pipe.cli.findings import FAIL, OK, Finding, all_findings
from conch_pipe.cli.installation import DEMO
from conch_pipe.cli.session import Session
from conch_pipe.errors import Code, PipeError

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
SAMPLE_ROWS = 3


@click.command(cls=Command)
@click.option("--live", is_flag=True, help="Also visit the running service as a partner and put a sample of 3 rows.")
@click.option("--organisation", default=DEMO, show_default=True, help="With --live: whose partner to be.")
@click.option("--schema", help="With --live: where to put the sample; default: the organisation's first.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds for the verdict."
)
@click.pass_obj
def check(session: Session, live: bool, organisation: str, schema: str | None, wait_s: float) -> None:
    """Look at settings, keys, folders, databases, schemas and limits; tell all findings, not only the first.

    With --live a secret is made, used once and deleted; the sample's rows stay in the warehouse under the
    organisation's name. Exits with 1 when anything is marked fail.

    \b
    conch-pipe check
    conch-pipe check --live --organisation acme --schema orgShifts
    """
    found = list(all_findings(session))
    if live:
        found += _live(session, organisation, schema, wait_s)
    good = all(one.level != FAIL for one in found)
    session.out.document({"ok": good, "findings": found})
    for one in found:
        session.out.say(f"{click.style(f'{one.level:<5}', _COLOURS[one.level])} {one.what:<13} {one.text}")
    if not good:
        click.get_current_context().exit(REFUSED)


def _live(session: Session, organisation: str, schema: str | None, wait_s: float) -> Iterator[Finding]:
    try:
        yield from _visit(session, organisation, schema, wait_s)
    except PipeError as error:
        yield Finding("visit", FAIL, str(error))


def _visit(session: Session, organisation: str, schema: str | None, wait_s: float) -> Iterator[Finding]:
    from conch_pipe.cli.organisations import existing
    from conch_pipe.cli.visiting import passing_credential, send
    from conch_pipe.formats.sample import sample
    from conch_pipe.model import State
    from conch_pipe.operations.schemas import known

    enabled = existing(session, organisation).schemas
    if not enabled:
        raise PipeError(Code.NOT_FOUND, f"{organisation} has no schema: conch-pipe schema enable {organisation} SCHEMA")
    schema = schema or enabled[0]
    text = sample(known(session.schemas, schema), SAMPLE_ROWS)
    with passing_credential(session, organisation, "check --live") as login:
        sent = send(session, login, schema, text.encode(), within_s=wait_s)
    yield Finding("visit", OK, f"logged in; the server is {sent.seen.software}, its key {sent.seen.fingerprint}")
    level = OK if sent.seen.folders == enabled else FAIL
    yield Finding("visit", level, f"the root folder shows {', '.join(sent.seen.folders) or 'nothing'}")
    if sent.upload is None:
        yield Finding("visit", FAIL, f"{sent.name} into {schema} was refused: {sent.seen.answer}")
    elif sent.upload.state is State.FAILED:
        yield Finding("visit", FAIL, f"upload {sent.upload.id} of {sent.name} failed: {sent.upload.problem}")
    else:
        yield Finding(
            "visit", OK, f"put {sent.name} into {schema}: upload {sent.upload.id}, {sent.upload.rows} rows loaded"
        )
