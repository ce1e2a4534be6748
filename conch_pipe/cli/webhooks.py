"""``conch-pipe webhook``: who is told over HTTP of what happens, and the log of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli.deliveries import local
from conch_pipe.cli.edge import REFUSED, Group
from conch_pipe.cli.output import printable
from conch_pipe.cli.session import Session, now

if TYPE_CHECKING:
    from conch_pipe.model import Answer, Notice, Webhook

# As model.Happening and model.Shape have them; a test holds them equal. Named here so that --help needs no model.
EVENTS = (
    *("upload.completed", "upload.failed", "recording.pushed", "recording.given_up"),
    *("remote.disabled", "credential.revoked"),
)
SHAPES = ("standard", "pipe")


@click.group(cls=Group)
def webhook() -> None:
    """Webhooks: who is told over HTTP of what happens.

    \b
    conch-pipe webhook add acme https://hooks.example.com/pipe --event upload.completed --event upload.failed
    conch-pipe webhook test wh_5tq…
    conch-pipe webhook log --failed
    """


@webhook.command("add")
@click.argument("organisation")
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, type=click.Choice([*EVENTS, "all"]), help="May be repeated; default: all."
)
@click.option("--environment", default="", metavar="ENVIRONMENT", help="Only what happens in this environment.")
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    default="standard",
    show_default=True,
    help='How messages are written: Standard Webhooks, or Pipe\'s own "video_copied_ftp" for recording.pushed.',
)
@click.pass_obj
def add_webhook(
    session: Session, organisation: str, url: str, events: tuple[str, ...], environment: str, shape: str
) -> None:
    """Tell URL what happens in ORGANISATION. The signing secret is shown now and never again.

    URL begins with https:// and has at most 200 characters; http:// is for the networks of webhooks.networks_allowed.

    \b
    conch-pipe webhook add acme https://hooks.example.com/pipe --event upload.failed
    conch-pipe webhook add acme https://hooks.example.com/pipe --event recording.pushed --environment production
    """
    wanted = EVENTS if "all" in events else events
    added, secret = now(
        session.operations.webhooks.add(organisation, url, wanted, environment=environment, shape=shape)
    )
    session.out.document(_document(added) | {"secret": secret})
    session.out.say(f"webhook {added.id} of {added.organisation} tells {added.url}: {_events(added)}")
    session.out.say(f"signing secret: {secret}")
    session.out.say(f"it is not shown again; next: conch-pipe webhook test {added.id}")


@webhook.command("list")
@click.argument("organisation", required=False)
@click.pass_obj
def list_webhooks(session: Session, organisation: str | None) -> None:
    """All webhooks, or those of ORGANISATION."""
    found = now(session.operations.webhooks.list(organisation))
    session.out.document([_document(one) for one in found])
    session.out.table(
        ("webhook", "organisation", "environment", "url", "events", "state"),
        [(one.id, one.organisation, one.environment or "all", one.url, _events(one), _state(one)) for one in found],
        empty="no webhooks; conch-pipe webhook add ORGANISATION URL makes one",
    )


@webhook.command("show")
@click.argument("id")
@click.pass_obj
def show_webhook(session: Session, id: str) -> None:
    """One webhook, with what waits for it and its last attempts."""
    shown = now(session.operations.webhooks.show(id))
    found = shown.webhook
    session.out.document(_document(found) | {"waiting": shown.waiting, "log": [_logged(one) for one in shown.log]})
    session.out.facts(
        [
            ("webhook", found.id),
            ("organisation", found.organisation),
            ("environment", found.environment or "all"),
            ("url", found.url),
            ("events", _events(found)),
            ("shape", found.shape.value),
            ("state", _state(found)),
            ("made", local(found.created_at)),
            ("messages waiting", shown.waiting),
        ]
    )
    _table(session, shown.log)


@webhook.command("test")
@click.argument("id")
@click.pass_obj
def test_webhook(session: Session, id: str) -> None:
    """Send a message of type webhook.test now, once. Exits with 1 unless the receiver took it."""
    from conch_pipe.cli import connecting

    found, notice = connecting.run(session, lambda operations: operations.webhooks.test(id))
    message, answer = notice.message, notice.answer
    session.out.document({"webhook": id, "message": message, "ok": not answer.reason} | _answer(answer))
    verdict = "taken" if not answer.reason else f"NOT taken: {answer.reason}, {answer.detail}"
    session.out.say(f"{message} {verdict} ({_status(answer)}, {answer.seconds:.3f} s)")
    if answer.body:
        session.out.say(f"the answer begins: {printable(answer.body[:200])}")
    if not found.enabled:
        session.out.say(f"the webhook is disabled; conch-pipe webhook enable {id}")
    if answer.reason:
        click.get_current_context().exit(REFUSED)


@webhook.command("log")
@click.argument("id", required=False)
@click.option("--organisation", metavar="ORGANISATION", help="Only webhooks of this organisation.")
@click.option("--message", metavar="MESSAGE", help="Only attempts at this message.")
@click.option("--failed", is_flag=True, help="Only attempts that were not taken.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The newest so many.")
@click.pass_obj
def log_webhooks(
    session: Session, id: str | None, organisation: str | None, message: str | None, failed: bool, limit: int
) -> None:
    """Attempts to tell webhooks, newest first; with ID those of one.

    \b
    conch-pipe webhook log --organisation acme --failed
    """
    if id is not None:
        now(session.operations.webhooks.existing(id))
    log = session.operations.webhooks.log(organisation, limit=limit, webhook=id, message=message, failed=failed)
    found = now(log).items
    session.out.document([_logged(one) for one in found])
    _table(session, found)


@webhook.command("enable")
@click.argument("id")
@click.pass_obj
def enable_webhook(session: Session, id: str) -> None:
    """Tell it again, whatever it was disabled for. Messages that still wait for it are sent at once."""
    enabled, waiting = now(session.operations.webhooks.enable(id))
    session.out.document(_document(enabled) | {"waiting": waiting})
    session.out.say(f"webhook {enabled.id} is enabled, {waiting} messages wait for it")


@webhook.command("disable")
@click.argument("id")
@click.pass_obj
def disable_webhook(session: Session, id: str) -> None:
    """Tell it nothing that happens from now on. Attempts at what waits for it count, without a request."""
    disabled = now(session.operations.webhooks.disable(id))
    session.out.document(_document(disabled))
    session.out.say(f"webhook {disabled.id} is disabled")


@webhook.command("remove")
@click.argument("id")
@click.pass_obj
def remove_webhook(session: Session, id: str) -> None:
    """Forget a webhook, its secret and its log; what waits for it is never sent."""
    dropped = now(session.operations.webhooks.remove(id))
    session.out.document({"id": id, "removed": True, "dropped": dropped})
    session.out.say(f"webhook {id} is removed" + (f", {dropped} messages were waiting" if dropped else ""))


@webhook.command("rotate-secret")
@click.argument("id")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0, 720),
    default=24.0,
    show_default=True,
    help="The old secret signs as well for so long; 0: it ends at once.",
)
@click.pass_obj
def rotate_webhook(session: Session, id: str, overlap_hours: float) -> None:
    """A new signing secret, shown now and never again. Meanwhile messages carry two signatures."""
    rotated, secret = now(session.operations.webhooks.rotate(id, overlap_hours))
    session.out.document(_document(rotated) | {"secret": secret, "overlap_hours": overlap_hours})
    session.out.say(f"signing secret: {secret}")
    session.out.say(f"it is not shown again; the old one signs as well for {overlap_hours:g} hours")


def _events(one: Webhook) -> str:
    return "all events" if len(one.events) == len(EVENTS) else ", ".join(event.value for event in one.events)


def _state(one: Webhook) -> str:
    return "enabled" if one.enabled else f"DISABLED: {one.disabled_reason}"


def _status(answer: Answer) -> str:
    return "no answer" if answer.status is None else f"HTTP {answer.status}"


def _document(one: Webhook) -> dict[str, Any]:
    return {
        "id": one.id,
        "organisation": one.organisation,
        "environment": one.environment or None,
        "url": one.url,
        "events": one.events,
        "shape": one.shape,
        "enabled": one.enabled,
        "disabled_reason": one.disabled_reason,
        "created_at": one.created_at,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "status": answer.status,
        "reason": answer.reason,
        "detail": answer.detail,
        "answer": answer.body,
        "seconds": answer.seconds,
    }


def _logged(one: Notice) -> dict[str, Any]:
    return {
        "webhook": one.webhook,
        "message": one.message,
        "event": one.event,
        "number": one.number,
        "began_at": one.began_at,
        **_answer(one.answer),
        "next_at": one.next_at,
        "shared": one.shared,
    }


def _table(session: Session, found: tuple[Notice, ...]) -> None:
    session.out.table(
        ("began", "webhook", "message", "event", "attempt", "status", "reason", "seconds", "next"),
        [
            (
                local(one.began_at),
                one.webhook,
                one.message,
                one.event,
                one.number or "test",
                "" if one.answer.status is None else one.answer.status,
                one.answer.reason or "taken",
                f"{one.answer.seconds:.3f}",
                local(one.next_at),
            )
            for one in found
        ],
        empty="nothing was sent yet",
    )
