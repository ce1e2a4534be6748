"""The documents of webhooks. A signing secret is in the answer that makes it, and in no other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from conch_pipe.model import LONGEST_URL, Answer, Happening, Notice, Shape
from conch_pipe.model import Webhook as Found
from conch_pipe.web.documents import Given, Taken
from conch_pipe.web.operations.taking import PageQuery

_ONCE = "Signs its messages. Answered this once; keep it."


class WebhooksQuery(PageQuery):
    """Which webhooks are wanted."""

    organisation: str | None = Field(None, max_length=63)


class WebhookForm(Taken):
    """A new webhook."""

    organisation: str = Field(examples=["acme"])
    url: str = Field(
        description=f"https://…, at most {LONGEST_URL} characters; http:// in networks that the settings name.",
        examples=["https://hooks.acme.example/pipe"],
    )
    events: list[Happening] = Field(
        [], max_length=len(Happening), description="None: all that fit the environment and the shape."
    )
    environment: str = Field("", description="Only what happens in it; empty: all of the organisation.")
    shape: Shape = Field(
        Shape.STANDARD, description='Standard Webhooks, or Pipe\'s own "video_copied_ftp" for recording.pushed.'
    )


class RotateRequest(Taken):
    """How long the old secret goes on signing."""

    overlap_hours: float = Field(24, ge=0, le=720, description="Messages carry two signatures meanwhile.")


class LogQuery(PageQuery):
    """Which attempts are wanted."""

    message: str | None = Field(None, max_length=100, description="Only attempts at this message.")
    failed: bool = Field(False, description="Only those that were not taken.")


class Webhook(Given):
    """A webhook: everything but its secret."""

    id: str
    organisation: str
    environment: str | None = Field(description="Only what happens in it; null: all of the organisation.")
    url: str
    events: list[Happening]
    shape: Shape
    enabled: bool
    disabled_reason: str = Field(description='"operator" or "gone"; empty: it is enabled.')
    created_at: datetime


class WebhookMade(Webhook):
    """A webhook with its new secret."""

    secret: str = Field(description=_ONCE, repr=False)


class WebhookStanding(Webhook):
    """A webhook with what waits for it."""

    waiting: int = Field(description="Messages that have neither been taken nor given up.")


class Webhooks(Given):
    """Webhooks, by organisation, oldest first."""

    webhooks: list[Webhook]
    next_cursor: str | None = Field(None, description="For the next page; null: there is none.")


class Told(Given):
    """How one request to a webhook went."""

    status: int | None = Field(description="Of HTTP; null: there was no answer.")
    reason: str = Field(description="One stable word; empty: it was taken.")
    detail: str
    answer: str = Field(description="The beginning of what was answered.")
    seconds: float


class WebhookAttempt(Told):
    """One row of a webhook's log."""

    message: str
    event: str
    number: int = Field(description="Of the attempt, from 1; 0: a test.")
    began_at: datetime
    next_at: datetime | None = Field(description="Of the next attempt; null: there is none.")
    shared: bool = Field(description="No request of its own: another message had just met the same failure.")


class WebhookLog(Given):
    """Attempts, newest first."""

    attempts: list[WebhookAttempt]
    next_cursor: str | None = Field(None, description="For the next page; null: there is none.")


class WebhookTest(Told):
    """How a test went."""

    message: str
    ok: bool = Field(description="The receiver took it.")


class WebhookRemoved(Given):
    """It is gone, with its secret and its log."""

    id: str
    dropped: int = Field(description="Messages that waited for it and are never sent.")


def told(found: Found) -> dict[str, Any]:
    """A webhook, for those models."""
    return {
        "id": found.id,
        "organisation": found.organisation,
        "environment": found.environment or None,
        "url": found.url,
        "events": list(found.events),
        "shape": found.shape,
        "enabled": found.enabled,
        "disabled_reason": found.disabled_reason,
        "created_at": found.created_at,
    }


def attempt(found: Notice) -> WebhookAttempt:
    """One row of the log."""
    return WebhookAttempt(
        message=found.message,
        event=found.event,
        number=found.number,
        began_at=found.began_at,
        next_at=found.next_at,
        shared=found.shared,
        **answered(found.answer),
    )


def answered(found: Answer) -> dict[str, Any]:
    """How a request went, for those models."""
    return {
        "status": found.status,
        "reason": found.reason,
        "detail": found.detail,
        "answer": found.body,
        "seconds": found.seconds,
    }
