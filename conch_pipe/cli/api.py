"""``conch-pipe api``: a client of the Upload API, for senders and for whoever wants to see it as they do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from conch_pipe.cli import asking, service
from conch_pipe.cli.edge import BUSY, NOT_FOUND, REFUSED, Command, Group
from conch_pipe.cli.session import Session
from conch_pipe.cli.uploads import STATES, Moment
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.cli.api_client import Api

_AGAIN = (408, 409, 429, 503, 507)  # later it may be another answer
_PAGE = 200  # uploads in one answer
_LOOK_S = 0.2
_FINAL = ("COMPLETED", "FAILED")
_SHOWN = {
    "upload": "uploadId",
    "status": "status",
    "schema": "schemaType",
    "name": "fileName",
    "bytes": "bytes",
    "sha256": "sha256",
    "source": "source",
    "client_id": "clientId",
    "received (UTC)": "receivedAt",
    "finished (UTC)": "finishedAt",
    "rows": "rows",
    "rejected": "rejected",
    "problem": "problem",
}


class _Asking(Command):
    """A command whose refusals are told in the API's own words, with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        from conch_pipe.cli.api_client import Refused

        try:
            return super().invoke(ctx)
        except Refused as refused:
            text = str(refused) if len(refused.mistakes) < 2 else "; ".join(refused.mistakes)
            out = ctx.obj.out
            out.error(refused.code, str(refused) if out.as_json else f"{refused.code}: {text}", refused.mistakes)
            ctx.exit(NOT_FOUND if refused.status == 404 else BUSY if refused.status in _AGAIN else REFUSED)


class _Commands(Group):
    command_class = _Asking


@click.group(cls=_Commands)
def api() -> None:
    """The Upload API, as a sender uses it: of this installation's running service, or with --url of any other.

    Logs in with client_id and client_secret. The secret comes from --secret-file, --secret-stdin, the environment
    variable PIPE_CLIENT_SECRET, or is asked for; never from the command line, where others could read it. With a token
    in PIPE_API_TOKEN nobody logs in.

    \b
    conch-pipe api upload sales.csv --schema orgTransactions --wait 60 --client-id pipe_abc123
    export PIPE_API_URL=https://api.example.com PIPE_CLIENT_ID=pipe_abc123
    export PIPE_API_TOKEN=$(conch-pipe api token --secret-file secret)
    conch-pipe api list --status FAILED
    """


def _who(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--url", envvar="PIPE_API_URL", help="https://HOST; default: the running service's."),
            click.option(
                "--cacert", type=click.Path(dir_okay=False, path_type=Path), help="PEM file; default: the system's."
            ),
            click.option("--clear", is_flag=True, help="Send secrets over the network without TLS."),
            click.option("--client-id", envvar="PIPE_CLIENT_ID", help="Or in the environment: PIPE_CLIENT_ID."),
            click.option(
                "--secret-file",
                type=click.Path(dir_okay=False, path_type=Path),
                help="File with the client_secret alone.",
            ),
            click.option("--secret-stdin", is_flag=True, help="Read the client_secret from standard input."),
        ]
    ):
        command = option(command)
    return command


@api.command("token")
@_who
@click.pass_obj
def token(session: Session, **who: Any) -> None:
    """Log in and print the token, which is good for some minutes: what "Authorization: Bearer …" needs."""
    with _api(session, who) as client:
        told = _login(client, who)
    session.out.document(told)
    session.out.say(told["access_token"])


@api.command("upload")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--schema", required=True, help="One of the schemas that are enabled for you.")
@click.option("--key", default="", help="An idempotency key of your own: the same again is never a second upload.")
@click.option("--name", help="What the file is called there; default: as here.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 86_400), default=0, metavar="SECONDS", help="Wait for the verdict."
)
@_who
@click.pass_obj
def upload(session: Session, file: Path, schema: str, key: str, name: str | None, wait_s: float, **who: Any) -> None:
    """Send FILE, CSV or JSON. It counts once this ends without an error.

    Exits with 1 when the verdict is FAILED, with 4 when there is none yet after --wait.

    \b
    conch-pipe api upload sales.csv --schema orgTransactions --key sales-2026-02-01 --wait 60
    """
    from conch_pipe.cli.api_client import LONGEST_WAIT_S

    with _api(session, who) as client, file.open("rb") as opened:
        _known(client, who)
        until = time.monotonic() + wait_s
        size = os.fstat(opened.fileno()).st_size
        told = client.upload(opened, name or file.name, size, schema, key, min(wait_s, LONGEST_WAIT_S))
        told = _waited(client, told, until)
    session.out.document(told)
    session.out.say(f"upload {told['uploadId']} of {told['fileName']} is {told['status']}{_outcome(told)}")
    if told["status"] == "FAILED":
        click.get_current_context().exit(REFUSED)
    if wait_s and told["status"] not in _FINAL:
        click.get_current_context().exit(BUSY)


@api.command("status")
@click.argument("upload_id", type=click.UUID)
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 86_400), default=0, metavar="SECONDS", help="Wait for the verdict."
)
@_who
@click.pass_obj
def status(session: Session, upload_id: UUID, wait_s: float, **who: Any) -> None:
    """How it went with one of your organisation's files, also one that was put over SFTP; with its problems."""
    from conch_pipe.cli.api_client import LONGEST_WAIT_S

    with _api(session, who) as client:
        _known(client, who)
        until = time.monotonic() + wait_s
        told = client.status(str(upload_id), wait_s=min(wait_s, LONGEST_WAIT_S))
        told = _waited(client, told, until)
        page = told
        while page["nextPage"] is not None:
            page = client.status(str(upload_id), page=page["nextPage"])
            told["problems"] += page["problems"]
    told.pop("nextPage", None)
    session.out.document(told)
    session.out.facts((name, _shown(key, told[key])) for name, key in _SHOWN.items() if told[key] is not None)
    if told["problems"]:
        session.out.say()
        columns = ("line", "row", "column", "value", "reason")
        session.out.table(columns, [[one[column] for column in columns] for one in told["problems"]])
    if told["problemCount"] > len(told["problems"]):
        session.out.say(f"the first {len(told['problems'])} of {told['problemCount']} problems")


@api.command("list")
@click.option("--status", type=click.Choice(STATES, case_sensitive=False), help="Only in this state.")
@click.option("--schema", help="Only into this schema.")
@click.option("--name", help="Only files whose name contains this.")
@click.option("--source", type=click.Choice(["sftp", "http", "cli"]), help="Only those that came this way.")
@click.option("--client", help="Only of this client_id of your organisation.")
@click.option("--since", type=Moment(), help="Received since: 2026-11-21T09:30 (UTC), or 90m, 12h, 2d ago.")
@click.option("--until", type=Moment(), help="Received before.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
@_who
@click.pass_obj
def list_uploads(
    session: Session,
    status: str | None,
    schema: str | None,
    name: str | None,
    source: str | None,
    client: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    **who: Any,
) -> None:
    """Your organisation's files, newest first, however they came."""
    filters = {
        "status": status and status.upper(),
        "schemaType": schema,
        "fileName": name,
        "source": source,
        "clientId": client,
        "from": since and since.isoformat(),
        "to": until and until.isoformat(),
    }
    asked = {key: value for key, value in filters.items() if value}
    found: list[dict[str, Any]] = []
    with _api(session, who) as there:
        _known(there, who)
        cursor: str | None = ""
        while cursor is not None and len(found) < limit:
            more = {"cursor": cursor} if cursor else {}
            page = there.uploads(**asked, **more, limit=str(min(_PAGE, limit - len(found))))
            found += page["uploads"]
            cursor = page["nextCursor"]
    session.out.document(found)
    shown = ("receivedAt", "uploadId", "source", "schemaType", "fileName", "status", "bytes", "rows", "rejected")
    session.out.table(
        ("received (UTC)", "id", "source", "schema", "name", "status", "bytes", "rows", "rejected", "problem"),
        [[_shown(key, one[key]) for key in (*shown, "problem")] for one in found],
        empty="no uploads",
    )


@contextmanager
def _api(session: Session, who: dict[str, Any]) -> Iterator[Api]:
    """A connection to where the options say, for as long as it is needed.

    :raises PipeError: BUSY, the service does not run; INVALID, there is no HTTP or it is not safe to use.
    """
    from conch_pipe.cli.api_client import Api, Place, is_local

    url, certificate = who["url"], None
    if not url:
        running = service.needed(session.settings.service.state)
        url = running.more.get("http_url")
        if not url:
            raise PipeError(Code.INVALID, "the service has no HTTP: its setting http.port is -1")
        certificate = Path(session.settings.http.certificate) if session.settings.http.certificate else None
    if url.startswith("http://") and not is_local(url) and not who["clear"]:
        raise PipeError(Code.NOT_ALLOWED, "the secret would go over the network in clear; https://, or --clear")
    client = Api(Place(url, who["cacert"], certificate))
    try:
        yield client
    finally:
        client.close()


def _known(client: Api, who: dict[str, Any]) -> None:
    """Have a token, a ready one or a fresh one."""
    ready = os.environ.get("PIPE_API_TOKEN", "")
    if ready and not who["secret_file"] and not who["secret_stdin"]:
        client.use(ready)
    else:
        _login(client, who)


def _login(client: Api, who: dict[str, Any]) -> dict[str, Any]:
    if not who["client_id"]:
        raise click.UsageError("--client-id is missing, or PIPE_CLIENT_ID in the environment")
    try:
        secret = asking.secret("client_secret", who["secret_stdin"], who["secret_file"])
    except ValueError as error:
        raise PipeError(Code.INVALID, f"the client_secret {error}") from None
    secret = secret or os.environ.get("PIPE_CLIENT_SECRET", "")
    if not secret and sys.stdin.isatty():
        secret = asking.hidden("client_secret")
    if not secret:
        raise click.UsageError("no client_secret: --secret-file, --secret-stdin, or PIPE_CLIENT_SECRET")
    return client.login(who["client_id"], secret)


def _waited(client: Api, told: dict[str, Any], until: float) -> dict[str, Any]:
    """Ask on until there is a verdict or the time is over."""
    from conch_pipe.cli.api_client import LONGEST_WAIT_S

    while told["status"] not in _FINAL and (left := until - time.monotonic()) > 0:
        told = client.status(told["uploadId"], wait_s=min(left, LONGEST_WAIT_S))
        if told["status"] not in _FINAL:
            time.sleep(_LOOK_S)  # the server may wait less than it was asked to
    return told


def _outcome(told: dict[str, Any]) -> str:
    """The verdict, where it is told: who does not wait is told that the file was taken, and no more."""
    if told.get("problem"):
        return f": {told['problem']}"
    rejected = f", {told['rejected']} rejected" if told.get("rejected") else ""
    return f", {told['rows']} rows{rejected}" if told.get("rows") is not None else ""


def _shown(key: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if key.endswith("At") and value else value
