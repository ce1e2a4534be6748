"""``conch-pipe upload``: what was received and what became of it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from conch_pipe.cli.edge import Group
from conch_pipe.cli.output import plain, printable
from conch_pipe.cli.session import Session, now

if TYPE_CHECKING:
    from conch_pipe.model import Problem, Upload

STATES = ("PENDING", "PROCESSING", "COMPLETED", "FAILED")
ALL = 1 << 62
_AGO = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Moment(click.ParamType):
    """A time in UTC, or how long ago: 2026-11-21, 2026-11-21T09:30, 90m, 2d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """:returns: aware UTC."""
        if isinstance(value, datetime):
            return value
        if ago := re.fullmatch(r"(\d{1,6})([smhd])", value):
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _AGO[ago[2]])
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is neither a time such as 2026-11-21T09:30 nor an age such as 90m, 12h, 2d", param, ctx
            )
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group(cls=Group)
def upload() -> None:
    """Uploads: files received, their state and their problems.

    \b
    conch-pipe upload list --state FAILED --since 24h
    conch-pipe upload errors 01935b2f-…
    conch-pipe upload retry 01935b2f-…
    """


@upload.command("list")
@click.option("--organisation", help="Only of this organisation.")
@click.option("--client", "client_id", help="Only of this client_id.")
@click.option("--schema", help="Only into this schema.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only in this state.")
@click.option("--name", help="Only files whose name contains this.")
@click.option("--since", type=Moment(), help="Received since: 2026-11-21T09:30 (UTC), or 90m, 12h, 2d ago.")
@click.option("--until", type=Moment(), help="Received before.")
@click.option("--limit", type=click.IntRange(1), help="The newest so many; default 100, with --json all.")
@click.option("--follow", is_flag=True, help="Go on and print each change as a line, until interrupted.")
@click.pass_obj
def list_uploads(session: Session, state: str | None, limit: int | None, follow: bool, **filters: Any) -> None:
    """The newest uploads, newest first.

    \b
    conch-pipe upload list --organisation acme --since 2d
    conch-pipe upload list --follow
    conch-pipe upload list --state FAILED --json
    """
    from conch_pipe.model import State

    limit = limit or (ALL if session.out.as_json else 100)
    wanted = {"state": State(state.upper()) if state else None, "limit": limit, **filters}
    if not follow:
        found = now(session.operations.uploads.page(**wanted)).items
        session.out.document(found)
        _table(session, found)
        return
    if session.out.as_json:
        raise click.UsageError("--follow prints lines, --json one document: choose one")
    with contextlib.suppress(KeyboardInterrupt):
        for changed in changes(lambda: now(session.operations.uploads.page(**wanted)).items, lambda: time.sleep(1)):
            session.out.say(line(changed))


def changes(read: Callable[[], Iterable[Upload]], wait: Callable[[], object]) -> Iterable[Upload]:
    """Each upload as it comes and whenever its state changes, oldest first, without end."""
    seen: dict[UUID, object] = {}
    while True:
        found = list(read())
        for one in reversed(found):
            if seen.get(one.id) != one.state:
                yield one
        # Only what can be listed again is remembered: a follower runs for weeks.
        seen = {one.id: one.state for one in found}
        wait()


def line(one: Upload) -> str:
    """An upload as one line of text."""
    what = f"{one.rows} rows" if one.rows is not None else one.problem or ""
    return (
        f"{one.received_at:%Y-%m-%d %H:%M:%S}  {one.id}  {one.state.value:<10}  {one.organisation}/{one.schema}/"
        f"{printable(one.name)}  {one.bytes} bytes  {printable(what)}"
    ).rstrip()


@upload.command("show")
@click.argument("upload_id", type=click.UUID)
@click.pass_obj
def show_upload(session: Session, upload_id: UUID) -> None:
    """Everything known of one upload, with its first problems."""
    found = existing(session, upload_id)
    problems = now(session.operations.uploads.problems(upload_id))
    document = plain(found)
    session.out.document(document | {"problems": plain(problems)})
    known = [name for name, value in document.items() if name != "seconds" and value not in (None, "")]
    session.out.facts((name, getattr(found, name)) for name in known)
    session.out.facts((f"seconds of {stage}", round(seconds, 3)) for stage, seconds in found.seconds.items())
    if problems:
        session.out.say()
        problem_table(session, problems[:10])
    if found.problem_count > 10:
        session.out.say(f"{found.problem_count} problems in all: conch-pipe upload errors {upload_id}")


@upload.command("errors")
@click.argument("upload_id", type=click.UUID)
@click.pass_obj
def show_errors(session: Session, upload_id: UUID) -> None:
    """The problems found in an upload's file: line, column, value, reason. The first 100 are kept."""
    found = existing(session, upload_id)
    problems = now(session.operations.uploads.problems(upload_id))
    session.out.document(problems)
    problem_table(session, problems, empty="no problems")
    if found.problem_count > len(problems):
        session.out.say(f"the first {len(problems)} of {found.problem_count}")


@upload.command("retry")
@click.argument("upload_ids", type=click.UUID, nargs=-1, required=True, metavar="UPLOAD_ID...")
@click.pass_obj
def retry_uploads(session: Session, upload_ids: tuple[UUID, ...]) -> None:
    """Process FAILED uploads once more, after the schema or the disk was put right. Rows are never loaded twice.

    \b
    conch-pipe upload retry 01935b2f-…
    """
    retried = [now(session.operations.uploads.rerun(upload_id)) for upload_id in upload_ids]
    session.out.document(retried)
    for one in retried:
        session.out.say(f"upload {one.id} is {one.state.value} again")


def existing(session: Session, upload_id: UUID) -> Upload:
    """:raises PipeError: NOT_FOUND."""
    found: Upload = now(session.operations.uploads.existing(upload_id))
    return found


def problem_table(session: Session, problems: Iterable[Problem], *, empty: str = "no problems") -> None:
    """Problems of a file for people."""
    session.out.table(
        ("line", "row", "column", "value", "reason"),
        [(one.line, one.row, one.column, one.value, one.reason) for one in problems],
        empty=empty,
    )


def _table(session: Session, found: Iterable[Upload]) -> None:
    session.out.table(
        ("received (UTC)", "id", "organisation", "schema", "name", "state", "bytes", "rows", "rejected", "problem"),
        [
            (
                one.received_at,
                one.id,
                one.organisation,
                one.schema,
                one.name,
                one.state,
                one.bytes,
                one.rows,
                one.rejected,
                one.problem,
            )
            for one in found
        ],
        empty="no uploads",
    )
