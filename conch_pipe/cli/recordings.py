"""``conch-pipe recording``: groups of files to deliver, where they are on their way, and the log of every attempt."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli import deliveries, service
from conch_pipe.cli.edge import Group
from conch_pipe.cli.session import Session, now
from conch_pipe.cli.uploads import ALL, Moment

if TYPE_CHECKING:
    from conch_pipe.model import Recording

STATES = ("WAITING", "PARTIAL", "DELIVERED", "GIVEN_UP")
STATUSES = (
    "OK", "FILE_MISSING", "UPLOAD_FAILED", "SFTP_LOGIN_FAILED", "INCORRECT_SFTP_FOLDER", "SFTP_CONNECTION_TIMEOUT",
    "HOST_KEY_MISMATCH",
)  # fmt: skip
_FILE = click.Path(path_type=Path)
_ORGANISATION = click.option("--organisation", help="Whose recording, when several organisations use the id.")
_SINCE = "2026-11-21T09:30 (UTC), or 90m, 12h, 2d ago."


@click.group(cls=Group)
def recording() -> None:
    """Recordings: groups of files that are delivered to the remotes of an environment.

    A RECORDING is named by its sender's id, or by our uid.

    \b
    conch-pipe recording submit acme production --id rec-1 --name standup --main standup.mp4
    conch-pipe recording show rec-1 --follow
    conch-pipe recording log --status SFTP_LOGIN_FAILED --since 24h
    """


@recording.command("submit")
@click.argument("organisation")
@click.argument("environment")
@click.option("--id", "recording_id", required=True, help="Your id: 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'.")
@click.option("--name", help="NAME of the files on the remotes: NAME.mp4, NAME_raw.…, NAME.jpg, …; default: the id.")
@click.option("--main", type=_FILE, metavar="FILE", help="The processed recording.")
@click.option(
    "--raw", type=_FILE, metavar="FILE", help="The raw recording; it is the main file when there is no other."
)
@click.option("--snapshot", type=_FILE, metavar="FILE", help="A picture.")
@click.option("--filmstrip", type=_FILE, metavar="FILE", help="A row of pictures.")
@click.pass_obj
def submit_recording(
    session: Session, organisation: str, environment: str, recording_id: str, name: str | None, **files: Path | None
) -> None:
    """Record a group of files for delivery. They stay where they are and must not change any more.

    Works also while the service is not running. The files must be in a folder of the settings push.spool or
    push.roots. The same id again is the same recording.

    \b
    conch-pipe recording submit acme production --id rec-1 --main /srv/media/1.mp4 --snapshot /srv/media/1.jpg
    """
    from conch_pipe.model import Role

    submit = session.operations.recordings.submit
    # Dots that lead up are resolved by name: a link on the way is refused anyway.
    given = {role: _absolute(path) for role in Role if (path := files[role.value]) is not None}
    told = now(submit(organisation, environment, recording_id, recording_id if name is None else name, given))
    made, pushes, again = told.recording, told.pushes, told.again
    session.out.document(deliveries.recording_document(made, pushes) | {"again": again})
    if again:
        session.out.say(f"recording {made.id} is known since {deliveries.local(made.saved_at)}")
    else:
        session.out.say(f"recording {made.id} is recorded as {made.uid}")
    session.out.say("it goes to " + (", ".join(push.remote for push in pushes) or "no remote"))
    if pushes and service.running(session.settings.service.state) is None:
        session.out.say("the service is not running: it is delivered when the service runs")


@recording.command("list")
@click.option("--organisation", help="Only of this organisation.")
@click.option("--environment", help="Only of this environment.")
@click.option("--id", "recording_id", help="Only of this id of the sender.")
@click.option("--remote", help="Only those that go to this remote.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only with a push in this state.")
@click.option("--since", type=Moment(), help=f"Saved since: {_SINCE}")
@click.option("--limit", type=click.IntRange(1), help="The newest so many; default 100, with --json all.")
@click.pass_obj
def list_recordings(
    session: Session, recording_id: str | None, state: str | None, limit: int | None, **filters: Any
) -> None:
    """The newest recordings, newest first, and how far they are.

    \b
    conch-pipe recording list --state GIVEN_UP
    conch-pipe recording list --organisation acme --remote archive --since 2d --json
    """
    from conch_pipe.model import PushState

    asked = session.operations.recordings.page(
        recording_id=recording_id,
        state=PushState(state.upper()) if state else None,
        limit=limit or (ALL if session.out.as_json else 100),
        **filters,
    )
    found = [(one.recording, tuple(each.push for each in one.deliveries)) for one in now(asked).items]
    session.out.document([deliveries.recording_document(*one) for one in found])
    deliveries.recording_table(session.out, found)


@recording.command("show")
@click.argument("recording_id", metavar="RECORDING")
@_ORGANISATION
@click.option("--follow", is_flag=True, help="Go on and draw how far each push is, until all have ended.")
@click.pass_obj
def show_recording(session: Session, recording_id: str, organisation: str | None, follow: bool) -> None:
    """One recording: its files, and for each remote the state, the attempts made and left, the next one, what is
    missing and why.

    \b
    conch-pipe recording show rec-1
    conch-pipe recording show rec-1 --organisation acme --follow
    """
    if follow and session.out.as_json:
        raise click.UsageError("--follow draws, --json is one document: choose one")
    found = existing(session, recording_id, organisation)
    recorded, pushes = now(session.catalog.recordings.show(found.uid))
    session.out.document(deliveries.recording_document(recorded, pushes))
    deliveries.show(session.out, recorded, pushes)
    if follow:
        from conch_pipe import progress
        from conch_pipe.cli import following

        session.out.say()
        with contextlib.suppress(KeyboardInterrupt):
            following.draw(
                session.out,
                lambda: now(session.operations.recordings.pushes(found.uid)),
                lambda: progress.read(session.settings.service.state),
            )


@recording.command("retry")
@click.argument("recording_ids", nargs=-1, required=True, metavar="RECORDING...")
@_ORGANISATION
@click.option("--remote", help="Only to this remote.")
@click.pass_obj
def retry_recordings(
    session: Session, recording_ids: tuple[str, ...], organisation: str | None, remote: str | None
) -> None:
    """Try once more now, besides the 13 attempts; also after they have been in vain, while the files are there.

    \b
    conch-pipe recording retry rec-1
    conch-pipe recording retry rec-1 rec-2 --remote archive
    """
    found = [existing(session, one, organisation) for one in recording_ids]
    tried = [(one, now(session.operations.recordings.retry(one.uid, remote))) for one in found]
    session.out.document([deliveries.recording_document(*one) for one in tried])
    for one, pushes in tried:
        session.out.say(f"recording {one.id} is tried now: {', '.join(push.remote for push in pushes)}")


@recording.command("log")
@click.argument("recording_id", metavar="[RECORDING]", required=False)
@click.option("--organisation", help="Only of this organisation.")
@click.option("--remote", help="Only to this remote.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only those that ended so.")
@click.option("--since", type=Moment(), help=f"Begun since: {_SINCE}")
@click.option("--limit", type=click.IntRange(1), help="The newest so many; default 100, with --json all.")
@click.pass_obj
def show_log(
    session: Session,
    recording_id: str | None,
    organisation: str | None,
    status: str | None,
    limit: int | None,
    **filters: Any,
) -> None:
    """Every attempt, newest first: of all recordings, or of one.

    \b
    conch-pipe recording log rec-1
    conch-pipe recording log --remote archive --status UPLOAD_FAILED --since 7d --json
    """
    from conch_pipe.model import Status

    asked = session.operations.pushes.log(
        organisation,
        recording=existing(session, recording_id, organisation).uid if recording_id else None,
        status=Status(status.upper()) if status else None,
        limit=limit or (ALL if session.out.as_json else 100),
        **filters,
    )
    found = now(asked).items
    session.out.document([deliveries.attempt_document(one) for one in found])
    deliveries.log(session.out, found)


def existing(session: Session, recording_id: str, organisation: str | None) -> Recording:
    """A recording by its sender's id, or by our uid.

    :raises PipeError: NOT_FOUND; INVALID when several organisations have one of that id.
    """
    found: Recording = now(session.operations.recordings.existing(recording_id, organisation))
    return found


def _absolute(path: Path) -> Path:
    import os.path

    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
